"""Killed at random moments, `sr upscale` leaves whole results only, and `sr train` goes on as if nothing had been."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.fast_python import python
from support.harness import SHARE, cases
from support.pictures import gradient
from support.trainings import OPTIONS, environment, record, sr_train

KILLS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def run(command: list[object], folder: Path, *, kill: signal.Signals | None = None, after: float = 0) -> int:
    """Run a command in a folder, perhaps not to its end; the exit code."""
    process = subprocess.Popen(
        [*map(str, command)], cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    if kill is not None:
        time.sleep(after)
        process.send_signal(kill)
    err = process.communicate(timeout=600)[1]
    if kill == signal.SIGINT and "Traceback" in err:  # from Python itself, before it comes to any code of ours
        assert f"{os.sep}sr_cli{os.sep}" not in err, err
        assert process.returncode in (1, -kill)
        return process.returncode
    assert "Traceback" not in err, err
    assert process.returncode in ({0, 130, -kill} if kill else {0}), (process.returncode, err)
    return process.returncode


def sr(generator: random.Random) -> list[object]:
    """The command; in the long form every fourth time as users start it, with all its imports."""
    return [sys.executable if SHARE and generator.random() < 0.25 else python(), "-m", "sr_cli"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


@pytest.mark.slow
def test_a_killed_batch_leaves_whole_results_only(tmp_path, weights_of):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for index, suffix in enumerate(("png", "jpg", "webp", "tif", "png", "png")):
        Image.fromarray(gradient(96, 64)).rotate(90 * index).save(tmp_path / "in" / f"{index}.{suffix}")
    model = weights_of(name="compact", scale=2, width=8, depth=1)
    batch = ["upscale", "in", "-o", "out", "--model", model, "--skip-existing", "--device", "cpu"]
    run([python(), "-m", "sr_cli", *batch], tmp_path)
    shutil.rmtree(tmp_path / "out")
    began = time.monotonic()
    run([python(), "-m", "sr_cli", *batch], tmp_path)
    seconds, whole = time.monotonic() - began, contents(tmp_path / "out")
    killed = partial = completed = 0
    for case in cases(6, long=1000):
        generator = random.Random(case)
        kill = generator.choice(KILLS)
        command = sr(generator)
        slower = 1 if command[0] != sys.executable else 5 / seconds
        code = run([*command, *batch], tmp_path, kill=kill, after=generator.random() * seconds * slower)
        killed += code != 0
        left = {name: content for name, content in contents(tmp_path / "out").items() if name not in whole}
        partial += any(content != whole[name] for name, content in contents(tmp_path / "out").items() if name in whole)
        assert not left and not partial, f"case {case}: {[*left]}"
        if case % 3 == 2:
            run([python(), "-m", "sr_cli", *batch], tmp_path)
            assert contents(tmp_path / "out") == whole, f"case {case}"
            completed += 1
            shutil.rmtree(tmp_path / "out")
    print(f"{case + 1} runs, {killed} killed, {partial} partial, {completed} completed, all of them identical")
    assert not list(tmp_path.glob("**/.sr-*.tmp"))


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, photo_folder):
    settings = tmp_path / "often.toml"
    settings.write_text("log-every = 1\nsamples = 1\nsave_minutes = 0.00001\nworkers = 0\n")
    options = [photo_folder, *OPTIONS, "--config", settings, "--validate-every", 2, "--steps", 8, "--name"]
    began = time.monotonic()
    assert sr_train(*options, "whole", folder=tmp_path).returncode == 0
    seconds, whole = time.monotonic() - began, record(tmp_path / "runs/whole")
    killed = 0
    for case in cases(2, long=200):
        generator = random.Random(case)
        folder = tmp_path / "runs" / str(case)
        for _ in range(generator.choice((1, 1, 2, 3))):
            arguments = ["--resume", folder] if (folder / "last.pt").exists() else [*options, case]
            command = [*sr(generator), "train", *arguments]
            slower = 1 if command[0] != sys.executable else 1 + 4 / seconds
            kill = generator.choice(KILLS)
            killed += run(command, tmp_path, kill=kill, after=generator.random() * seconds * slower) != 0
        arguments = ["--resume", folder] if (folder / "last.pt").exists() else [*options, case]
        run([python(), "-m", "sr_cli", "train", *arguments], tmp_path)
        assert record(folder) == whole, f"case {case}"
        shutil.rmtree(folder)
    print(f"{case + 1} trainings, {killed} times killed, all of them identical")
    assert os.listdir(tmp_path / "runs") == ["whole"]  # noqa: PTH208
