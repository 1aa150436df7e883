"""The folder of a training run: what it holds, and how it stays whole whatever happens."""

import csv
import io
import json
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from sr_cli.errors import OutputError, TrainingError
from sr_cli.system.atomic_files import atomic_write, output_error, write_atomically

CONFIG, STATE, METRICS, VALIDATION, ENERGY = "config.json", "last.pt", "metrics.csv", "validation.csv", "energy.json"
EARLIER, SAMPLES = "earlier", "samples"


class Run:
    """A run's folder while a training writes into it. One process at a time; close it at the end.

    Attributes:
        path: the folder.
        last_step: the step of the state in ``last.pt``; ``None`` while there is none.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path, self._lock = path, lock
        self.last_step: int | None = None

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> "Run":
        """Begin a run in a folder that is missing or empty.

        Raises:
            TrainingError: the folder has something in it.
            OutputError: it cannot be written.
        """
        check_free(path)
        run = cls._locked(path)
        try:
            write_atomically(path / CONFIG, _json(config), overwrite=False)
        except OutputError:
            run.close()
            check_free(path)  # another process was faster
            raise
        return run

    @classmethod
    def reopen(cls, path: Path, config: Mapping[str, Any]) -> "Run":
        """Go on with a run; its ``config.json`` becomes ``config``.

        Raises:
            TrainingError: there is no run, or another process is writing into it.
        """
        read_config(path)
        run = cls._locked(path)
        write_atomically(path / CONFIG, _json(config))
        return run

    @classmethod
    def _locked(cls, path: Path) -> "Run":
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise TrainingError(f"{path}: another process is training in this run") from None
        except OSError as error:
            raise output_error(path, error) from error
        return cls(path, lock)

    def close(self) -> None:
        """Let others go on with the run."""
        self._lock.release()

    def save_state(self, state: Mapping[str, Any], *, keep: int) -> None:
        """Write ``last.pt``, whole or not at all; the ``keep`` − 1 before it stay in ``earlier/``.

        Raises:
            OutputError: the disk is full, or the folder not writable; the state before is as it was.
        """
        last = self.path / STATE
        if keep > 1 and self.last_step not in (None, state["step"]):
            _second_name(last, self.path / EARLIER / f"step-{self.last_step:08}.pt")
        save_state(last, state)
        self.last_step = state["step"]
        states = sorted((self.path / EARLIER).glob("step-*.pt"))
        for old in states[: max(0, len(states) - (keep - 1))]:
            with suppress(OSError):
                old.unlink()

    def drop_last_state(self) -> None:
        """Let the state before the last one take its place; without one before it, nothing changes."""
        earlier = sorted((self.path / EARLIER).glob("step-*.pt"))
        if earlier:
            try:
                earlier[-1].replace(self.path / STATE)
            except OSError as error:
                raise output_error(self.path / STATE, error) from error
            self.last_step = int(earlier[-1].stem.removeprefix("step-"))

    def write_row(self, name: str, row: Mapping[str, Any]) -> None:
        """Append a row to a CSV file; the first one brings the header.

        Raises:
            OutputError: the disk is full, or the file not writable.
        """
        path = self.path / name
        try:
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise output_error(path, error) from error

    def forget_after(self, step: int) -> None:
        """Drop what was noted after ``step``: rows of the CSV files, and samples. They will come again."""
        for name in (METRICS, VALIDATION):
            path = self.path / name
            if path.exists():
                write_atomically(path, _rows_until(path.read_text(encoding="utf-8"), step))
        for sample in (self.path / SAMPLES).glob("step-*.png"):
            if int(sample.stem.removeprefix("step-")) > step:
                sample.unlink()

    def write_energy(self, report: Mapping[str, Any]) -> None:
        """Write ``energy.json``."""
        write_atomically(self.path / ENERGY, _json(report))


def check_free(path: Path) -> None:
    """Refuse a folder that has something in it.

    Raises:
        TrainingError: it has.
    """
    try:
        taken = path.exists() and (not path.is_dir() or any(entry.name != ".lock" for entry in path.iterdir()))
    except OSError as error:
        raise output_error(path, error) from error
    if taken and (path / CONFIG).is_file() and not (path / STATE).exists():
        raise TrainingError(
            f"{path}: exists, from a training that ended before it began; remove it, or choose another --name"
        )
    if taken:
        raise TrainingError(f"{path}: exists; go on with it by --resume {path}, or choose another --name")


def read_config(path: Path) -> dict[str, Any]:
    """The ``config.json`` of a run.

    Raises:
        TrainingError: there is no run in this folder.
    """
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrainingError(f"{path}: there is no run to resume") from None
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path / CONFIG}: cannot be read ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        raise TrainingError(f"{path / CONFIG}: not the settings of a run")
    return config


def read_state(path: Path) -> dict[str, Any]:
    """The state to resume from: the ``last.pt`` of a run.

    Raises:
        TrainingError: it is missing or damaged; the message names an earlier one.
    """
    try:
        return load_state(path / STATE)
    except TrainingError as error:
        earlier = sorted((path / EARLIER).glob("step-*.pt"))
        if not earlier:
            raise
        raise TrainingError(f"{error}; to go on from the state before it: cp {earlier[-1]} {path / STATE}") from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training's whole state; the file appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    # Through memory, as torch.save turns the errors of a full disk into its own.
    with io.BytesIO() as content, atomic_write(path) as file:
        torch.save(dict(state), content)
        file.write(content.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, without unpickling anything but tensors and plain values.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: nothing to resume from") from error
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path}: not a training state that can be read") from error
    if not isinstance(state, dict):
        raise TrainingError(f"{path}: not a training state")
    return state


def _second_name(path: Path, second: Path) -> None:
    """Give a file a second name; a copy where the file system cannot do that."""
    try:
        second.parent.mkdir(exist_ok=True)
        second.unlink(missing_ok=True)
        try:
            os.link(path, second)
        except OSError:
            shutil.copyfile(path, second)
    except OSError as error:
        raise output_error(second, error) from error


def _rows_until(text: str, step: int) -> str:
    """The header and the whole rows of a CSV file whose step is at most ``step``."""
    lines: Sequence[str] = text.splitlines(keepends=True)
    kept = io.StringIO()
    for number, line in enumerate(lines):
        first = line.split(",", 1)[0]
        if line.endswith("\n") and (number == 0 or (first.isdigit() and int(first) <= step)):
            kept.write(line)
    return kept.getvalue()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
