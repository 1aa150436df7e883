"""Where weights are and how they get there: find, fetch, add, verify, remove.

A weights folder is flat. Beside ``NAME`` it may hold ``.NAME.part`` (a broken transfer), ``.NAME.lock`` (so that of
several processes one downloads) and ``.NAME.receipt`` (the hash that was found right, and for which size and time).
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import platformdirs
from filelock import FileLock, Timeout

from sr_cli.download import OnProgress, Patience, Progress, download, ignore, sha256_of
from sr_cli.errors import OutputError, SrError, WeightsError
from sr_cli.files import write_whole, written_whole
from sr_cli.registry import (
    Entry,
    Kind,
    add_own,
    check_free,
    check_url,
    config_dir,
    entries,
    entry,
    safetensors_metadata,
)

__all__ = [
    "Entry",
    "Kind",
    "OnProgress",
    "Patience",
    "Progress",
    "State",
    "add",
    "adopt",
    "config_dir",
    "data_dir",
    "entries",
    "entry",
    "fetch",
    "locate",
    "offline",
    "path_of",
    "remedy",
    "remove",
    "state",
]

State = Literal["shipped", "cached", "missing", "corrupt"]


def data_dir() -> Path:
    """The folder of downloaded weights: ``SR_DATA_DIR``, or the user data folder of the system."""
    own = os.environ.get("SR_DATA_DIR")
    return Path(own).expanduser() if own else Path(platformdirs.user_data_dir("sr-cli", appauthor=False))


def offline() -> bool:
    """Whether ``SR_OFFLINE`` forbids the network."""
    return os.environ.get("SR_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def path_of(entry: Entry, *, folder: Path | None = None) -> Path:
    """Where the entry's file is, or would be."""
    return entry.path or (folder or data_dir()) / entry.file


def state(entry: Entry, *, folder: Path | None = None, thorough: bool = False) -> State:
    """How it stands with an entry's file.

    A file is hashed once; from then on its size and time are compared with those on its receipt.

    Args:
        thorough: hash it in any case.
    """
    path = path_of(entry, folder=folder)
    if entry.path:
        return "shipped" if not thorough or _is_whole(path) else "corrupt"
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    if entry.size not in (None, stat.st_size):
        return "corrupt"
    receipt = _read_receipt(path)
    expected = entry.sha256 or receipt.get("sha256")
    stamp = {"sha256": expected, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if receipt == stamp and not thorough:
        return "cached"
    actual = sha256_of(path)
    if expected in (None, actual):
        _write_receipt(path, actual)
        return "cached"
    _write_receipt(path, expected, right=False)
    return "corrupt"


def locate(name: str, *, kind: Kind, folder: Path | None = None) -> Path:
    """The path of weights that are here.

    Raises:
        WeightsError: the name is unknown, or the file is missing or damaged; the message has the remedy.
    """
    found = entry(name, kind=kind)
    path = path_of(found, folder=folder)
    match state(found, folder=folder):
        case "missing":
            raise WeightsError(f"{name} is not here yet. {remedy(found, folder=folder)}")
        case "corrupt":
            raise WeightsError(f"{path} is damaged. {remedy(found, folder=folder)}")
    return path


def remedy(entry: Entry, *, folder: Path | None = None) -> str:
    """What to do about weights that are missing: command, URL, target path."""
    path = path_of(entry, folder=folder)
    where = f" --dir {folder}" if folder else ""
    copy = f"`sr download-weights {entry.name} --from FILE{where}`"
    if not entry.urls:
        return f"It has no URL: put a copy at {path} with {copy}"
    size = f", {entry.size / 1e6:.0f} MB" if entry.size else ""
    return (
        f"Run `sr download-weights {entry.name}{where}` (from {entry.urls[0]}{size}, to {path}); "
        f"without internet, bring the file and run {copy}"
    )


def fetch(
    name: str,
    *,
    kind: Kind | None = None,
    folder: Path | None = None,
    urls: Sequence[str] = (),
    force: bool = False,
    on_progress: OnProgress = ignore,
    patience: Patience | None = None,
) -> Path:
    """Download weights unless they are here, and return their path. Several processes at once download once.

    Args:
        folder: where to; by default `data_dir`.
        urls: to try instead of the entry's own.
        force: download even what is here and intact.

    Raises:
        WeightsError: the name is unknown, there is no URL, or ``SR_OFFLINE`` is set.
        DownloadError: no URL gave the right file.
        OutputError: the folder cannot be written, or the disk is full.
    """
    return _fetch(
        entry(name, kind=kind), folder=folder, urls=urls, force=force, on_progress=on_progress, patience=patience
    )


def _fetch(
    wanted: Entry,
    *,
    folder: Path | None,
    urls: Sequence[str],
    force: bool,
    on_progress: OnProgress,
    patience: Patience | None,
) -> Path:
    path = path_of(wanted, folder=folder)
    for url in urls:
        check_url(url)
    if wanted.path or (not force and state(wanted, folder=folder) == "cached"):
        return path
    urls = urls or wanted.urls
    if not urls:
        raise WeightsError(f"{wanted.name} is not here. {remedy(wanted, folder=folder)}")
    if offline():
        raise WeightsError(f"{wanted.name} is not here, and SR_OFFLINE is set. {remedy(wanted, folder=folder)}")
    with _alone(path, on_progress):
        if not force and state(wanted, folder=folder) == "cached":
            return path
        expected = wanted.sha256 or _read_receipt(path).get("sha256")
        sha256 = download(urls, path, size=wanted.size, sha256=expected, on_progress=on_progress, patience=patience)
        _write_receipt(path, sha256)
    return path


def add(name: str, source: Path, *, kind: Kind | None = None, folder: Path | None = None) -> Path:
    """Copy a file of the user's into the weights folder, if it is what the registry says.

    Raises:
        WeightsError: the name is unknown, or the file's size or hash is not the registered one.
        OutputError: the folder cannot be written, or the disk is full.
    """
    wanted = entry(name, kind=kind)
    if wanted.path:
        raise WeightsError(f"{name} ships with the package; there is nothing to add")
    return _add(wanted, source, folder=folder)


def _add(wanted: Entry, source: Path, *, folder: Path | None) -> Path:
    path = path_of(wanted, folder=folder)
    try:
        size = source.stat().st_size
        if wanted.size not in (None, size):
            raise WeightsError(f"{source} has {size} bytes; {wanted.name} has {wanted.size}")
        actual = sha256_of(source)
    except OSError as error:
        raise WeightsError(f"{source}: cannot be read ({error.strerror})") from error
    if wanted.sha256 not in (None, actual):
        raise WeightsError(f"{source} has the SHA-256 {actual}; {wanted.name} has {wanted.sha256}")
    with _alone(path, ignore):
        if not (path.exists() and path.samefile(source)):
            _copy(source, path, actual)
        _write_receipt(path, actual)
    return path


def _copy(source: Path, path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as file, written_whole(path) as copy:
        while piece := file.read(1 << 20):
            digest.update(piece)
            copy.write(piece)
        if digest.hexdigest() != sha256:
            raise WeightsError(f"{source} changed while it was copied")


def remove(name: str, *, folder: Path | None = None) -> bool:
    """Delete weights, what is left of a broken transfer, and the receipt. Return whether there was anything.

    Raises:
        WeightsError: the name is unknown, or the weights ship with the package.
        OutputError: the folder cannot be written.
    """
    wanted = entry(name)
    if wanted.path:
        raise WeightsError(f"{name} ships with the package and cannot be removed")
    path = path_of(wanted, folder=folder)
    if not path.parent.is_dir():
        return False
    leftovers = [path, *(path.with_name(f".{path.name}.{end}") for end in ("part", "part.json", "receipt"))]
    with _alone(path, ignore), _folder_errors(path.parent):
        found = [each for each in leftovers if each.exists()]
        for each in found:
            each.unlink()
    return bool(found)


def adopt(
    new: Entry,
    *,
    source: Path | None = None,
    folder: Path | None = None,
    on_progress: OnProgress = ignore,
    patience: Patience | None = None,
) -> Path:
    """Take in weights of the user's own, from a file or from the entry's URLs, and note them in the user's registry.

    Nothing vouches for them but the user: where the entry has no hash, the hash of what came is noted, and holds from
    then on.

    Args:
        new: an entry whose name is not taken.
        source: the file; without it the entry's URLs are tried.

    Raises:
        WeightsError: the name is taken, the file cannot be read, or is not what the entry says.
        DownloadError, OutputError: see `fetch`.
    """
    check_free(new)
    if source:
        path = _add(new, source, folder=folder)
    else:
        path = _fetch(new, folder=folder, urls=(), force=True, on_progress=on_progress, patience=patience)
    add_own(replace(new, size=path.stat().st_size, sha256=_read_receipt(path)["sha256"]))
    return path


@contextmanager
def _alone(path: Path, on_progress: OnProgress) -> Iterator[None]:
    """Hold the file's lock; make its folder first."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), poll_interval=0.2)
    with _folder_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_progress(Progress(note=f"another process is busy with {path.name}; waiting for it"))
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


def _is_whole(path: Path) -> bool:
    with suppress(SrError):
        safetensors_metadata(path)
        return True
    return False


def _receipt_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.receipt")


def _read_receipt(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        receipt = json.loads(_receipt_path(path).read_text("utf-8"))
        return receipt if isinstance(receipt, dict) else {}
    return {}


def _write_receipt(path: Path, sha256: str | None, *, right: bool = True) -> None:
    """Note the hash, and for which size and time of the file it was found right; in a read-only folder don't."""
    stat = path.stat()
    receipt = {"sha256": sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns if right else None}
    with suppress(OutputError):
        write_whole(_receipt_path(path), json.dumps(receipt))
