"""Files that appear atomically."""

import errno
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from sr_cli import signals
from sr_cli.errors import DiskError, OutputError, OutputExistsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SECONDS_TO_LOCK = 5  # between making a temporary file and locking it, at the very most


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only if the block ends without an error.

    Until then it has no name where the file system supports that (Linux ``O_TMPFILE``), so that not even SIGKILL
    leaves anything behind; elsewhere it is a hidden file in the same folder. What a killed process left there is
    removed by the next one that writes into that folder.

    Args:
        path: the destination; its folder is made if missing.
        overwrite: whether an existing file may be replaced.

    Yields:
        A binary file, readable, writable and seekable.

    Raises:
        OutputError: the folder is not writable, the disk is full, or ``path`` exists and ``overwrite`` is false.
    """
    temporary = path.with_name(f".sr-{secrets.token_hex(8)}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_left_over(path.parent)
            unnamed = _open_unnamed(path.parent)
            with unnamed or temporary.open("x+b") as file:
                _lock(file)
                yield file
                file.flush()
                os.fsync(file.fileno())
                if unnamed:
                    # With a descriptor (otherwise unused) Python calls linkat(), which follows the link in /proc.
                    os.link(f"/proc/self/fd/{file.fileno()}", temporary, src_dir_fd=file.fileno())
            if overwrite:
                temporary.replace(path)
            else:
                os.link(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str, *, overwrite: bool = True) -> None:
    """Write ``content`` (text as UTF-8) to ``path`` by `atomic_write`."""
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an `OutputError` if the system cannot write ``path``."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def output_error(path: Path, error: OSError) -> OutputError:
    """Explain why ``path`` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind = OutputError if error.errno == errno.EFBIG else DiskError  # a smaller file may fit
        return kind(f"{path}: no space left on the disk of {path.parent}; nothing was written")
    if isinstance(error, FileExistsError) and path.exists():
        return OutputExistsError(f"{path}: already exists")
    reason = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        for each in (path, *path.parents):
            if each.is_symlink() and not each.exists():
                reason = f"{each} is a link to {each.readlink()}, which does not exist"
            elif each.is_file():
                reason = f"{each} is not a folder"
    kind = DiskError if error.errno == errno.EROFS else OutputError
    return kind(f"{path}: cannot be written ({reason})")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for temporary files, removed at the end or when a signal ends the process; what SIGKILL left is removed
    by the next call."""
    for left in Path(tempfile.gettempdir()).glob("sr-cli-*"):
        with suppress(OSError), _opened_folder(left) as folder:
            status = os.fstat(folder)
            is_old = time.time() - status.st_mtime > _SECONDS_TO_LOCK
            if is_old and status.st_uid == os.getuid() and _lock(folder):
                shutil.rmtree(left)
    made = tempfile.TemporaryDirectory(prefix="sr-cli-", ignore_cleanup_errors=True)
    with made as path, _opened_folder(Path(path)) as folder:
        _lock(folder)
        clean_up = partial(shutil.rmtree, path, ignore_errors=True)
        signals.cleanups.append(clean_up)
        try:
            yield Path(path)
        finally:
            signals.cleanups.remove(clean_up)


@contextmanager
def _opened_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1024)
def _remove_left_over(folder: Path) -> None:
    """Remove temporary files that no process holds; once per folder and process."""
    for path in filter(Path.is_file, folder.glob(".sr-*.tmp")):
        with suppress(OSError), path.open("rb") as file:
            status = os.fstat(file.fileno())
            may_be_new = status.st_size == 0 and time.time() - status.st_mtime < _SECONDS_TO_LOCK
            if not may_be_new and _lock(file):
                path.unlink()


def _lock(file: BinaryIO | int) -> bool:
    """Hold a file until it is closed, so that others see it is in use; false if another holds it, or none can."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _open_unnamed(folder: Path) -> BinaryIO | None:
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        with suppress(OSError):
            return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    return None
