"""The folder of a training run: its files, and how they stay consistent whatever happens."""

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from sr_cli.errors import TrainingError, parsing
from sr_cli.system.atomic_files import atomic_write, write_atomically, writing
from sr_cli.training import runs
from sr_cli.training.state import Progress

CONFIG, STATE, METRICS, VALIDATION, ENERGY = "config.json", "last.pt", "metrics.csv", "validation.csv", "energy.json"
WEIGHTS = "model.safetensors"
EARLIER, SAMPLES = "earlier", "samples"


class Run:
    """A run's folder, open for one process to write into. Close it at the end.

    Attributes:
        last_step: the step of the state in ``last.pt``; ``None`` if there is none.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path, self._lock = path, lock
        self.last_step: int | None = None

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> "Run":
        """Begin a run in a folder that is missing, empty, or of a run that did no step.

        Raises:
            TrainingError: the folder holds something else.
            OutputError: it cannot be written.
        """
        check_free(path)
        run = cls._lock_folder(path)
        with ExitStack() as stack, writing(path):
            stack.callback(run.close)
            check_free(path)  # another process may have been faster
            for name in (STATE, WEIGHTS, METRICS, VALIDATION, ENERGY):
                (path / name).unlink(missing_ok=True)
            write_atomically(path / CONFIG, _json(config))
            stack.pop_all()
        return run

    @classmethod
    def reopen(cls, path: Path, config: Mapping[str, Any]) -> "Run":
        """Continue a run, replacing ``config.json``; a `TrainingError` if there is none, or another process has it."""
        read_config(path)
        run = cls._lock_folder(path)
        write_atomically(path / CONFIG, _json(config))
        return run

    @classmethod
    def _lock_folder(cls, path: Path) -> "Run":
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise TrainingError(f"{path}: another process is training in this run") from None
        return cls(path, lock)

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def save_state(self, state: Mapping[str, Any], *, keep: int) -> None:
        """Write ``last.pt`` atomically; ``keep`` − 1 states before it stay in ``earlier/``.

        Raises:
            OutputError: the disk is full or the folder not writable; the last state is intact.
        """
        last = self.path / STATE
        if keep > 1 and self.last_step not in (None, state["step"]):
            _link(last, self.path / EARLIER / f"step-{self.last_step:08}.pt")
        save_state(last, state)
        self.last_step = state["step"]
        states = _earlier_states(self.path)
        for old in states[: max(0, len(states) - (keep - 1))]:
            with suppress(OSError):
                old.unlink()

    def drop_last_state(self) -> None:
        """Replace the last state with the one before it, if there is one."""
        if earlier := _earlier_states(self.path):
            with writing(self.path / STATE):
                earlier[-1].replace(self.path / STATE)
            self.last_step = _step_of(earlier[-1])

    def write_row(self, name: str, row: Mapping[str, Any]) -> None:
        """Append a row to a CSV file, after a header if it is new; an `OutputError` if it cannot be written."""
        path = self.path / name
        with writing(path), path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)

    def forget_after(self, step: int) -> None:
        """Remove the rows and samples of later steps; they will be written again."""
        for path in (self.path / METRICS, self.path / VALIDATION):
            if path.exists():
                header, *rows = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) or [""]
                # A crash may have left the last row incomplete.
                steps = [row.split(",", 1)[0] if row.endswith("\n") else "" for row in rows]
                kept = (row for row, at in zip(rows, steps, strict=True) if at.isdigit() and int(at) <= step)
                write_atomically(path, "".join([header, *kept]) if header.endswith("\n") else "")
        for sample in (self.path / SAMPLES).glob("step-*.png"):
            if _step_of(sample) > step:
                sample.unlink()

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add to ``config.json``."""
        write_atomically(self.path / CONFIG, _json({**read_config(self.path), **facts}))

    def write_energy(self, report: Mapping[str, Any]) -> None:
        """Write ``energy.json``."""
        write_atomically(self.path / ENERGY, _json(report))


def check_free(path: Path) -> None:
    """Refuse, by a `TrainingError`, a folder that is neither missing nor empty nor of a run that did no step."""
    with writing(path):
        taken = path.exists() and (not path.is_dir() or any(entry.name != ".lock" for entry in path.iterdir()))
    if taken and not _holds_no_step(path):
        raise TrainingError(f"{path}: already exists; continue it with --resume {path}, or choose another --name")


def _holds_no_step(path: Path) -> bool:
    if not (path / CONFIG).is_file() or _earlier_states(path):
        return False
    try:
        return not (path / STATE).exists() or load_state(path / STATE)["step"] == 0
    except TrainingError:
        return False


def read_config(path: Path) -> dict[str, Any]:
    """The ``config.json`` of a run; a `TrainingError` if the folder holds none."""
    if not (path / CONFIG).exists():
        raise TrainingError(f"{path}: no run to resume")
    config = runs.read_config(path / CONFIG)
    with parsing(path / CONFIG, TrainingError):
        data = config["data"]
        texts = (data["folder"], data["fingerprint"], *data.get("lr_folders", []))
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a folder is no text")
    return config


def read_state(path: Path) -> dict[str, Any]:
    """The last state of a run; if it is missing or damaged, a `TrainingError` that names an earlier one."""
    try:
        state = load_state(path / STATE)
        with parsing(path / STATE, TrainingError):
            _ = Progress.of(state), state["trainer"]
        return state
    except TrainingError as error:
        if not (earlier := _earlier_states(path)):
            raise
        raise TrainingError(f"{error}; to use the state before it: cp {earlier[-1]} {path / STATE}") from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training's state atomically; an `OutputError` if the file cannot be written."""
    # Through memory: torch.save turns a full disk into an error of its own.
    with io.BytesIO() as content, atomic_write(path) as file:
        torch.save(dict(state), content)
        file.write(content.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, tensors and plain values only; a `TrainingError` if it is missing or damaged."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: nothing to resume from") from error
    except Exception as error:  # hostile bytes: UnpicklingError, RuntimeError, KeyError …
        raise TrainingError(f"{path}: not a readable training state") from error
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise TrainingError(f"{path}: not a training state")
    return state


def _earlier_states(run: Path) -> list[Path]:
    return sorted((run / EARLIER).glob("step-*.pt"))


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _link(path: Path, name: Path) -> None:
    """Give a file a second name, or copy it if the file system has no links."""
    with writing(name):
        name.parent.mkdir(exist_ok=True)
        name.unlink(missing_ok=True)
        try:
            os.link(path, name)
        except OSError:
            shutil.copyfile(path, name)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
