"""The data folder: locate, fetch, add and remove weights.

The folder is flat. Beside ``NAME`` it may hold ``.NAME.part`` and ``.NAME.part.json`` (an interrupted download) and
``.NAME.lock`` (so that only one process downloads).
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sr_cli.errors import DownloadError, OutputError, WeightsError, reading
from sr_cli.system.atomic_files import atomic_write
from sr_cli.system.quantities import megabytes
from sr_cli.weights.checksums import mismatch
from sr_cli.weights.registry import Entry, data_dir, entry, entry_or_new, is_url, without_password
from sr_cli.weights.types import DEFAULT_RETRIES, Kind, OnProgress, Progress, RetryPolicy, State


def offline() -> bool:
    """Whether ``SR_OFFLINE`` forbids downloads."""
    return os.environ.get("SR_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def path_of(entry: Entry) -> Path:
    """Where the entry's file is, or would be."""
    return entry.path or data_dir() / entry.file


def state(entry: Entry, *, verify: bool = False) -> State:
    """Whether an entry's file is on this machine, and intact; a `WeightsError` if it cannot be read.

    Args:
        verify: check the SHA-256, not only the size.
    """
    path = path_of(entry)
    with reading(path, WeightsError):
        if not path.is_file():
            return "missing"
    if mismatch(path, size=entry.size, sha256=entry.sha256 if verify else None):
        return "corrupt"
    return "shipped" if entry.path else "cached"


def locate(name: str, *, kind: Kind) -> Path:
    """The path of weights that are on this machine.

    Raises:
        WeightsError: the name is unknown, or the file is missing or damaged; the message says what to do.
    """
    found = entry(name, kind=kind)
    path, found_state = path_of(found), state(found)
    if found_state in ("missing", "corrupt"):
        problem = f"{found.name} is missing" if found_state == "missing" else f"{path} is damaged"
        raise WeightsError(f"{problem}. {remedy(found)}")
    return path


def remedy(entry: Entry) -> str:
    """How to get weights that are missing: command, URL, path."""
    if entry.path:
        return "It ships with the package: reinstall sr-cli"
    from_file = f"`sr download-weights {entry.name} --from FILE`"
    if not entry.urls:
        where = f"Get it from {entry.source}, then" if is_url(entry.source) else "It has no URL:"
        return f"{where} run {from_file} to copy a file to {path_of(entry)}"
    size = f"{megabytes(entry.size)}, " if entry.size else ""
    return (
        f"Run `sr download-weights {entry.name}` ({size}to {path_of(entry)}); without internet access, bring "
        f"{without_password(entry.urls[0])} from elsewhere and run {from_file}"
    )


def fetch(
    wanted: Entry,
    *,
    force: bool = False,
    on_progress: OnProgress = lambda _: None,
    retries: RetryPolicy = DEFAULT_RETRIES,
) -> Path:
    """Download weights unless they are here, and return their path. Of several processes, only one downloads.

    Args:
        force: download even if the file is here and intact.

    Raises:
        WeightsError: there is no URL, or ``SR_OFFLINE`` is set.
        DownloadError: no URL delivered the right file.
        OutputError: the folder cannot be written, or the disk is full.
    """
    path = path_of(wanted)
    if wanted.path or (not force and state(wanted) == "cached"):
        return path
    if offline() or not wanted.urls:
        problem = "is missing, and SR_OFFLINE is set" if wanted.urls else "cannot be downloaded"
        raise WeightsError(f"{wanted.name} {problem}. {remedy(wanted)}")

    from sr_cli.weights.download import download  # imports requests, which takes 0.1 s

    def report_wait() -> None:
        on_progress(Progress(note=f"waiting for another process to finish with {path.name}"))

    with _file_lock(path, on_wait=report_wait):
        if force or state(wanted) != "cached":
            try:
                download(wanted, path, on_progress=on_progress, retries=retries)
            except DownloadError as error:
                by_hand = f"`sr download-weights {wanted.name} --from FILE`"
                raise DownloadError(
                    f"{wanted.name}: {error}; without internet access, bring the file from elsewhere and run {by_hand}"
                ) from error
    return path


def add(name: str, source: Path) -> Path:
    """Copy a local file into the data folder, and return the copy's path.

    A file for a known name must have the registered size and SHA-256. An unknown name becomes an entry: the file is
    copied to ``NAME`` with its own suffix, and its content tells whether it is a loss network or an upscaler.

    Raises:
        WeightsError: the file cannot be read, is not what the registry says, or is not called like a weights file.
        OutputError: the folder cannot be written, or the disk is full.
    """
    wanted = entry_or_new(name, str(source))
    name = wanted.name
    if wanted.path:
        raise WeightsError(f"{name} ships with the package; nothing to add")
    if problem := mismatch(source, size=wanted.size, sha256=wanted.sha256):
        raise WeightsError(f"{source} is not {name}: {problem}; weights of your own need a name of their own")
    path = path_of(wanted)
    with _file_lock(path):
        if not (path.exists() and path.samefile(source)):
            with source.open("rb") as file, atomic_write(path) as copy:
                shutil.copyfileobj(file, copy)
    return path


def remove(name: str) -> bool:
    """Delete weights and what an interrupted download left of them. Return whether there was anything.

    Raises:
        WeightsError: the name is unknown, or the weights ship with the package.
        OutputError: the folder cannot be written.
    """
    wanted = entry(name)
    if wanted.path:
        raise WeightsError(f"{name} ships with the package and cannot be removed")
    path = path_of(wanted)
    if not path.parent.is_dir():
        return False
    with _file_lock(path), _folder_errors(path.parent):
        found = [each for each in (path, *path.parent.glob(f".{path.name}.part*")) if each.exists()]
        for each in found:
            each.unlink()
    return bool(found)


@contextmanager
def _file_lock(path: Path, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold ``.NAME.lock`` beside ``path``, in a folder that is made if missing; call ``on_wait`` if another has it."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), poll_interval=0.2)
    with _folder_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder with SR_DATA_DIR"
        ) from error
