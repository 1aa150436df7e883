"""Small trainings for the tests: settings, and the command line in processes of their own."""

import csv
import hashlib
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import torch

from sr_cli.config import TrainConfig
from sr_cli.data import Photos
from sr_cli.training.loop import train
from sr_cli.training.run_folder import load_state
from sr_cli.training.state import TrainStep
from support.fast_python import python

TINY = TrainConfig(
    arch="compact", scale=2, width=8, depth=1, crop_size=32, batch_size=2, epochs=None, steps=6, lr=1e-3, loss="pixel",
    degradation="bicubic", ema=0.9, validation_photos=1, validate_every=4, samples=1, log_every=2, seed=3,
)  # fmt: skip

OPTIONS = [
    "--arch", "compact", "--scale", "2", "--width", "8", "--depth", "1", "--crop-size", "32", "--batch-size", "2",
    "--ema", "0.9", "--validation-photos", "1", "--validate-every", "4", "--device", "cpu",
]  # fmt: skip

CPU = torch.device("cpu")


def photos_in(folder: Path, config: TrainConfig = TINY) -> Photos:
    return Photos.below(folder, min_side=config.crop_size, cache_bytes=1 << 24)


def trained(folder: Path, run: Path, *, resume: bool = False, **changes: object) -> list[TrainStep]:
    """The steps of a tiny training in this process."""
    config = replace(TINY, **changes)  # type: ignore[arg-type]
    return list(train(config, photos_in(folder, config), CPU, run=run, resume=resume))


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(path.read_text().splitlines()))


def record(run: Path) -> dict[str, object]:
    """What a run's folder holds, apart from how long everything took."""
    timed = ("seconds", "images_per_second", "loading")
    progress = load_state(run / "last.pt")["progress"]
    return {
        "metrics": [
            {k: v for k, v in row.items() if k not in timed and not k.startswith("device_")}
            for row in rows(run / "metrics.csv")
        ],
        "validation": rows(run / "validation.csv"),
        "samples": sorted(path.name for path in (run / "samples").glob("*.png")),
        "weights": [digest(run / f"{name}.safetensors") for name in ("model", "best")],
        "progress": {k: v for k, v in progress.items() if k not in ("elapsed", "energy")},
    }


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "SR_OFFLINE": "1", "SR_DATA_DIR": str(folder / "data"), "OMP_NUM_THREADS": "2"}


def start(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    """``sr train`` in the background."""
    command = [python(), "-m", "sr_cli", "train", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment(folder))


def sr_train(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """``sr train`` to its end."""
    process = start(*arguments, folder=folder)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def wait_for_row(run: Path, process: subprocess.Popen[str], *, step: int) -> None:
    """Until the training has noted a step."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        rows = (run / "metrics.csv").read_text().splitlines() if (run / "metrics.csv").exists() else []
        if any(int(row.split(",")[0]) >= step for row in rows[1:] if row.split(",")[0].isdigit()):
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError(f"step {step} has not come")


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    """Signal a process that this test started, and wait for its end."""
    process.send_signal(number)
    return process.communicate(timeout=120)


def digest(path: Path) -> str:
    """What a weights file holds, apart from its header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    hashed = hashlib.sha256()
    for key in sorted(tensors):
        hashed.update(key.encode() + tensors[key].numpy().tobytes())
    return hashed.hexdigest()
