"""Killed at random moments, `sr upscale` leaves whole results only, and `sr train` goes on as if nothing had been."""

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fast_python import python
from support.harness import SHARE, cases
from support.pictures import gradient
from support.trainings import OPTIONS, environment, record, sr_train

KILLS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
OWN = [sys.executable, "-m", "sr_cli"]
FIRST = {"__init__.py", "__main__.py"}  # what is imported before signals are handled
FORKED = [
    python(), "-c",
    "import os; from sr_cli import signals; signals.install(); os.write(1, b'x'); import sr_cli.__main__ as command\n"
    "command.main()",
]  # fmt: skip


class Tries:
    """Commands that are killed, each in the same folder; how often what came of them, and what was wrong."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self.folder, self.problems = folder, problems
        self.counts: Counter[str] = Counter()

    def until(self, kills: int) -> Iterator[int]:
        """The numbers of the cases, until so many commands were killed; a signal may come too late to be counted."""
        yield from itertools.takewhile(lambda _: self.killed < kills, range(20 * kills))
        assert self.killed >= kills, self.counts

    @property
    def killed(self) -> int:
        return sum(self.counts.values()) - self.counts["ended before the signal"]

    def kill(self, case: int, generator: random.Random, command: list[object], *, seconds: float) -> None:
        """Run a command that takes so long, and kill it before that; in the long form every fourth is started by a
        Python of its own, which takes five seconds more for its imports, and killed at any moment of them."""
        is_own = SHARE > 0 and generator.random() < 0.25
        number = generator.choice(KILLS)
        process = self._start(command, OWN if is_own else FORKED)
        assert process.stdout is not None and (is_own or process.stdout.read(1))
        time.sleep(generator.random() * (seconds + 5 * is_own))
        process.send_signal(number)
        err = process.communicate(timeout=600)[1]
        kind, code = f"{'own Python, ' if is_own else ''}{number.name}", process.returncode
        if (
            "Traceback" in err
            and is_own
            and number == signal.SIGINT
            and set(re.findall(r"sr_cli/(.*?)\"", err)) <= FIRST
        ):
            kind += " before sr listens"  # Python's own, while it starts
        elif "Traceback" in err or code not in (0, 130, -number):
            self.problems.append(f"case {case}, {kind}: exit code {code}, {err}")
        self.counts["ended before the signal" if code == 0 else kind] += 1

    def complete(self, command: list[object]) -> None:
        process = self._start(command, FORKED)
        err = process.communicate(timeout=600)[1]
        if process.returncode or "Traceback" in err:
            self.problems.append(f"not killed: exit code {process.returncode}, {err}")

    def report(self, what: str) -> None:
        print(f"{what}, {self.killed} killed: {dict(sorted(self.counts.items()))}; {len(self.problems)} problems")
        assert not self.problems, "\n".join(self.problems[:20])

    def _start(self, command: list[object], interpreter: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*interpreter, *map(str, command)], cwd=self.folder, env=environment(self.folder),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


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
    tries = Tries(tmp_path, problems := [])
    tries.complete(batch)
    shutil.rmtree(tmp_path / "out")
    began = time.monotonic()
    tries.complete(batch)
    seconds, whole = time.monotonic() - began, contents(tmp_path / "out")
    temporary = completed = 0
    kills = len(cases(5, long=1_000))
    for case in tries.until(kills):
        generator = random.Random(case)
        tries.kill(case, generator, batch, seconds=seconds)
        found = contents(tmp_path / "out")
        partial = [name for name, content in found.items() if name in whole and content != whole[name]]
        left = [name for name in found if name not in whole]
        temporary += len(left)
        if partial or any(not name.startswith(".sr-") for name in left):
            problems.append(f"case {case}: {partial} are partial, of {left}")
        if case % 3 == 2 or tries.killed == kills:
            time.sleep(6 if any(not found[name] for name in left) else 0)  # empty ones might be another process's
            tries.complete(batch)
            if contents(tmp_path / "out") != whole:
                problems.append(f"case {case}: left are {[*contents(tmp_path / 'out')]}")
            completed += 1
            shutil.rmtree(tmp_path / "out")
    print(f"{temporary} temporary files, gone after the next run; {completed} batches completed", end="; ")
    tries.report(f"{case + 1} batches")


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, photo_folder):
    settings = tmp_path / "often.toml"
    settings.write_text("log-every = 1\nsamples = 1\nsave_minutes = 0.00001\nworkers = 0\n")
    options = [photo_folder, *OPTIONS, "--config", settings, "--validate-every", 2, "--steps", 8, "--name"]
    sr_train("--help", folder=tmp_path)  # imports PyTorch, which isn't to be timed
    began = time.monotonic()
    assert sr_train(*options, "whole", folder=tmp_path).returncode == 0
    seconds, whole = time.monotonic() - began, record(tmp_path / "runs/whole")
    tries = Tries(tmp_path, problems := [])
    for case in tries.until(len(cases(2, long=200))):
        generator = random.Random(case)
        folder = tmp_path / "runs" / str(case)

        def command(folder: Path = folder) -> list[object]:
            return ["train", *(["--resume", folder] if (folder / "last.pt").exists() else [*options, folder.name])]

        for _ in range(generator.choice((1, 1, 2, 3))):
            tries.kill(case, generator, command(), seconds=seconds)
        tries.complete(command())
        if record(folder) != whole:
            problems.append(f"case {case}: another training")
        shutil.rmtree(folder)
    if os.listdir(tmp_path / "runs") != ["whole"]:  # noqa: PTH208
        problems.append(f"left over: {os.listdir(tmp_path / 'runs')}")  # noqa: PTH208
    tries.report(f"{case + 1} trainings")
