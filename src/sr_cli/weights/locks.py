"""One process at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sr_cli.errors import OutputError


@contextmanager
def alone(path: Path, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file, ``.NAME.lock`` beside it; the file need not exist, and its folder is made.

    Args:
        path: the file.
        on_wait: called once if another process holds the lock.

    Raises:
        OutputError: the folder cannot be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"), poll_interval=0.2)
    with folder_errors(path.parent):
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
def folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder with SR_DATA_DIR"
        ) from error
