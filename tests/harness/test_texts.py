"""Mutated settings, lists, headers, weights and states of trainings are taken, or refused in one line."""

import copy
import io
import json
import os
import random
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import pytest
import torch

from sr_cli.errors import SrError
from support.harness import cases, failures_of, mutate, one_line
from support.trainings import trained

STRANGE = (None, True, -1, 0, 10**30, 1e308, float("nan"), "", "x", "../" * 9, "\x1b[2J", [], {}, [[]], {"a": None})
SETTINGS = b"""lr = 3e-4
steps = 100
loss = "pixel:l1=1+checkerboard:rms=0.1"
degradation = { blur = 0.5, jpeg-quality = [30, 95] }
"""
REGISTRY = b"""[mine]
kind = "upscaler"
file = "mine.pth"
urls = ["https://example.com/mine.pth"]
size = 1000
license = "MIT"
"""


@pytest.mark.slow
def test_no_mutated_text_does_harm(photo_folder, tmp_path):
    run = tmp_path / "run"
    trained(photo_folder, run, steps=1)
    header, tensors = split_safetensors((run / "model.safetensors").read_bytes())
    config = json.loads((run / "config.json").read_text())
    state = torch.load(run / "last.pt", weights_only=True)
    report = {"scale": 4, "methods": ["a"], "means": {"a": {"psnr": 30.0}}, "pictures": []}
    texts = {
        "settings.toml": SETTINGS,
        "registry.toml": REGISTRY,
        "baseline.json": json.dumps(report).encode(),
        "config.json": (run / "config.json").read_bytes(),
        "validation.csv": b"step,psnr\n1,30.5\n",
        "metrics.csv": (run / "metrics.csv").read_bytes() or b"step,loss\n1,0.5\n",
        "list.txt": "photo0.jpg\r\n\r\nphotos/ä.png\0".encode("utf-16"),
        "model.safetensors": (run / "model.safetensors").read_bytes(),
        "weights.pth": saved(state["trainer"]["network"]),
        "last.pt": (run / "last.pt").read_bytes(),
    }
    structured = {
        "config.json": lambda strange: json.dumps(strange(config)).encode(),
        "baseline.json": lambda strange: json.dumps(strange(report)).encode(),
        "model.safetensors": lambda strange: join_safetensors(strange(header), tensors),
        "last.pt": lambda strange: saved(strange(state)),
    }
    names = [*texts, *structured]

    def mutants():
        for case in cases(50, long=5_000):
            generator = random.Random(case)
            index = case % len(names)
            name = names[index]
            if index >= len(texts):
                yield name, structured[name](partial(made_strange, generator=generator)), photo_folder
            else:
                yield name, mutate(texts[name], generator, other=texts[generator.choice(list(texts))]), photo_folder

    failures = failures_of(problem_of, mutants(), tmp_path)
    assert not failures, "\n".join(failures[:20])


def problem_of(name: str, content: bytes, folder: Path, photos: Path) -> str | None:
    """Have it read by what reads such files, and by the command where several do."""
    mutant = folder / "mutant"
    shutil.rmtree(mutant, ignore_errors=True)
    shutil.copytree(folder / "run", mutant)
    (mutant / name).write_bytes(content)
    if name in ("config.json", "last.pt", "metrics.csv", "validation.csv"):
        return command("runs", str(mutant)) or command("train", str(photos), "--resume", str(mutant), "--steps", "1")
    try:
        if name == "settings.toml":
            from sr_cli.cli.settings import read_settings

            read_settings(mutant / name)
        elif name == "baseline.json":
            from sr_cli.evaluation.thresholds import read_report

            read_report(mutant / name)
        elif name == "list.txt":
            from sr_cli.upscaling.batch.find_inputs import read_list

            read_list(content)
        elif name == "registry.toml":
            from sr_cli import weights

            os.environ["SR_DATA_DIR"] = str(mutant)
            weights.entries()
        else:
            from sr_cli.upscaling.load import load_weights

            load_weights(mutant / name)
    except SrError as error:
        return one_line(error)
    return None


def command(*arguments: str) -> str | None:
    """Run a command in this process; what is wrong with how it ended."""
    from sr_cli.__main__ import run

    sys.argv = ["sr", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run()
    told = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    if "\x1b[2J" in out.getvalue() + err.getvalue():
        return f"{arguments[0]}: a control character was printed"
    return None if len(told) == (code not in (0, 130)) else f"{arguments[0]}: code {code} and {err.getvalue()!r}"


def made_strange(value: object, *, generator: random.Random) -> object:
    """A copy of nested dictionaries and lists, of which one value is strange or missing."""
    changed = copy.deepcopy(value)
    places: list[tuple[object, object]] = []
    waiting = [changed]
    for container in waiting:
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, inner in items:
            places.append((container, key))
            if isinstance(inner, dict | list):
                waiting.append(inner)
    container, key = generator.choice(places)
    if generator.random() < 0.3:
        del container[key]  # type: ignore[attr-defined]
    else:
        container[key] = generator.choice(STRANGE)  # type: ignore[index]
    return changed


def saved(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def split_safetensors(content: bytes) -> tuple[dict[str, object], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_safetensors(header: object, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors
