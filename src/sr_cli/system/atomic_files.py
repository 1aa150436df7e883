"""Files that appear whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sr_cli.errors import OutputError


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Write a file that gets its name only when the block ends without an error.

    Until then it has no name at all where the file system can do that (Linux ``O_TMPFILE``): not even SIGKILL leaves
    something to clean up. Elsewhere it is a hidden ``.NAME.…`` file in the same folder.

    Args:
        path: the destination; its folder is made if it is missing.
        overwrite: whether a file of that name may be replaced.

    Yields:
        An open binary file, readable, writable and seekable.

    Raises:
        OutputError: the folder is not writable, the disk is full, or ``path`` exists and ``overwrite`` is false.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file, temporary = _nameless(path)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if temporary is None and overwrite and path.exists():
                temporary = _free_name(path)
                _name(file, temporary)
            if temporary is None:
                _name(file, path)
            elif overwrite:
                temporary.replace(path)
            else:
                os.link(temporary, path)
                temporary.unlink()
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str, *, overwrite: bool = True) -> None:
    """Write ``content`` (text as UTF-8) to ``path`` by `atomic_write`."""
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _nameless(path: Path) -> tuple[BinaryIO, Path | None]:
    """Open a temporary file beside ``path``; its name, or ``None`` where it has none."""
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        with suppress(OSError):
            return os.fdopen(os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b"), None
    temporary = _free_name(path)
    return temporary.open("x+b"), temporary


def _name(file: BinaryIO, path: Path) -> None:
    # With a folder descriptor (ignored: the source is absolute) Python calls linkat() and follows the /proc link.
    os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=file.fileno())


def _free_name(path: Path) -> Path:
    return path.with_name(f".sr-{secrets.token_hex(8)}.tmp")


def output_error(path: Path, error: OSError) -> OutputError:
    """What went wrong when ``path`` was written, in the user's words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(f"{path}: no space left on the disk that holds {path.parent}; nothing was written")
    if isinstance(error, FileExistsError) and path.exists():
        return OutputError(f"{path}: already exists")
    return OutputError(f"{path}: cannot be written ({error.strerror or error})")
