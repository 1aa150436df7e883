"""The folder where weights are: find, fetch, add, verify, remove.

It is flat. Beside ``NAME`` it may hold ``.NAME.part`` and ``.NAME.part.json`` (a broken transfer), ``.NAME.receipt``
(see `sr_cli.weights.receipts`) and ``.NAME.lock``, so that of several processes one downloads.
"""

import hashlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import platformdirs

from sr_cli.errors import DownloadError, WeightsError
from sr_cli.system.atomic_files import atomic_write
from sr_cli.weights.header import is_whole
from sr_cli.weights.locks import alone, folder_errors
from sr_cli.weights.partial import Partial
from sr_cli.weights.progress import OnProgress, Patience, Progress, ignore
from sr_cli.weights.receipts import is_right, receipt_of, receipted_hash, sha256_of, write_receipt
from sr_cli.weights.registry import Entry, Kind, entries, entry
from sr_cli.weights.urls import check_url, shown

State = Literal["shipped", "cached", "missing", "corrupt"]


def data_dir() -> Path:
    """The folder of downloaded weights: ``SR_DATA_DIR``, or the user data folder of the system."""
    own = os.environ.get("SR_DATA_DIR")
    return Path(own).expanduser().absolute() if own else Path(platformdirs.user_data_dir("sr-cli", appauthor=False))


def offline() -> bool:
    """Whether ``SR_OFFLINE`` forbids the network."""
    return os.environ.get("SR_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def path_of(entry: Entry, *, folder: Path | None = None) -> Path:
    """Where the entry's file is, or would be."""
    return entry.path or (folder or data_dir()) / entry.file


def state(entry: Entry, *, folder: Path | None = None, thorough: bool = False) -> State:
    """How it stands with an entry's file.

    Args:
        thorough: hash the file even if it was found right before and has not been touched since.

    Raises:
        WeightsError: there is a file, and it cannot be read.
    """
    path = path_of(entry, folder=folder)
    if entry.path:
        return "shipped" if is_whole(path) else "corrupt"
    try:
        if not path.is_file():
            return "missing"
        if entry.size not in (None, path.stat().st_size):
            return "corrupt"
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    return "cached" if is_right(path, entry.sha256, thorough=thorough) else "corrupt"


def locate(name: str, *, kind: Kind, folder: Path | None = None) -> Path:
    """The path of weights that are here.

    Raises:
        WeightsError: the name is unknown, or the file is missing or damaged; the message has the remedy.
    """
    found = entry(name, kind=kind)
    path = path_of(found, folder=folder)
    standing = state(found, folder=folder)
    if standing in ("missing", "corrupt"):
        problem = f"{name} is not here yet" if standing == "missing" else f"{path} is damaged"
        raise WeightsError(f"{problem}. {remedy(found, folder=folder)}")
    return path


def remedy(entry: Entry, *, folder: Path | None = None) -> str:
    """What to do about weights that are missing: command, URL, target path."""
    if entry.path:
        return "It ships with the package: install sr-cli again"
    path = path_of(entry, folder=folder)
    if not entry.urls:
        return f"It has no URL: put a copy at {path} with {_command(entry, folder, '--from FILE')}"
    size = f", {entry.size / 1e6:.0f} MB" if entry.size else ""
    return (
        f"Run {_command(entry, folder)} (from {shown(entry.urls[0])}{size}, to {path}); "
        f"without internet, bring the file and run {_command(entry, folder, '--from FILE')}"
    )


def _command(entry: Entry, folder: Path | None, source: str = "") -> str:
    """The command that brings the entry, for one that nobody knows yet with all that describes it."""
    parts = ["sr download-weights", entry.name, source]
    if entry.name not in entries():
        parts += [] if source else [f"--url {shlex.quote(entry.urls[0])}"]
        parts += [f"--kind {entry.kind.replace(' ', '-')}", f"--scale {entry.scale}" if entry.scale else ""]
        parts += [f"--sha256 {entry.sha256}" if entry.sha256 else ""]
    parts += [f"--dir {shlex.quote(str(folder))}" if folder else ""]
    return f"`{' '.join(filter(None, parts))}`"


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
    return bring(
        entry(name, kind=kind), folder=folder, urls=urls, force=force, on_progress=on_progress, patience=patience
    )


def bring(
    wanted: Entry,
    *,
    folder: Path | None = None,
    urls: Sequence[str] = (),
    force: bool = False,
    on_progress: OnProgress = ignore,
    patience: Patience | None = None,
) -> Path:
    """`fetch` for an entry that need not be in a registry."""
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

    from sr_cli.weights.download import download  # loads the network library, which costs 0.1 s

    def waiting() -> None:
        on_progress(Progress(note=f"another process is busy with {path.name}; waiting for it"))

    with alone(path, on_wait=waiting):
        if not force and state(wanted, folder=folder) == "cached":
            return path
        expected = wanted.sha256 or receipted_hash(path)
        try:
            sha256 = download(urls, path, size=wanted.size, sha256=expected, on_progress=on_progress, patience=patience)
        except DownloadError as error:
            copy = _command(wanted, folder, "--from FILE")
            raise DownloadError(
                f"{wanted.name}: {error}. It belongs at {path}; without internet, bring the file and run {copy}"
            ) from error
        write_receipt(path, sha256)
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
    return take_in(wanted, source, folder=folder)


def take_in(wanted: Entry, source: Path, *, folder: Path | None = None) -> Path:
    """`add` for an entry that need not be in a registry."""
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
    with alone(path):
        if not (path.exists() and path.samefile(source)):
            _copy(source, path, actual)
        write_receipt(path, actual)
    return path


def _copy(source: Path, path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as file, atomic_write(path) as copy:
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
    leftovers = [path, receipt_of(path), *Partial.files(path)]
    with alone(path), folder_errors(path.parent):
        found = [each for each in leftovers if each.exists()]
        for each in found:
            each.unlink()
    return bool(found)
