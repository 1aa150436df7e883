"""The errors that `sr` raises on purpose, with the exit code of each."""

from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:  # signals are caught before pathlib and typing are imported, which takes a while
    from pathlib import Path

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class SrError(Exception):
    """An error that the user can fix. The message names the cause and the remedy, in one line."""

    exit_code = 1


class UsageError(SrError):
    """Conflicting options, or an invalid value."""

    exit_code = EXIT_USAGE


class ImageError(SrError):
    """A picture or a folder of pictures that is missing, unreadable or unsuitable."""

    exit_code = 3


class NoImagesError(ImageError):
    """A folder, a pattern or a list without a picture."""


class WeightsError(SrError):
    """Weights that are missing, damaged, unknown or of the wrong kind."""

    exit_code = 4


class DownloadError(SrError):
    """A download that failed or delivered the wrong file."""

    exit_code = 5


class DeviceError(SrError):
    """A device that is absent, or out of memory with nothing left to try."""

    exit_code = 6


class OutputError(SrError):
    """A result that cannot be written: the file exists, the disk is full, or the folder is read-only."""

    exit_code = 7


class OutputExistsError(OutputError):
    """A result that exists already and may not be replaced."""


class DiskError(OutputError):
    """A disk that is full or read-only, so that no other result can be written either."""


class TrainingError(SrError):
    """A training that cannot start, continue or resume."""

    exit_code = 8


class QualityError(SrError):
    """A measured quality below its threshold or its baseline."""

    exit_code = 9


@contextmanager
def as_usage_error(about: str = "") -> Iterator[None]:
    """Raise a `UsageError` where a config refuses its settings, or a text cannot be read; it begins with ``about``."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UsageError(f"{about}{error}") from error


@contextmanager
def reading(path: "Path | str", kind: type[SrError]) -> Iterator[None]:
    """Raise an error of that kind if the system cannot read ``path``."""
    try:
        yield
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def parsing(path: "Path | str", kind: type[SrError]) -> Iterator[None]:
    """Raise an error of that kind for whatever else is raised on the content of ``path``, which may hold anything."""
    try:
        yield
    except (SrError, MemoryError):
        raise
    except Exception as error:
        raise kind(f"{path}: damaged, or of another version of sr ({one_line(described(error))})") from error


_OUT_OF_MEMORY = (
    "allocate", "bad_alloc", "out of memory", "MemoryError", "failed to map segment", "start new thread",
    "could not create a ", "ALLOC_FAILED", "find an engine",  # oneDNN, cuDNN
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; imports, PyTorch and its libraries say so only in the text."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY)


def first_line(error: BaseException) -> str:
    """What an error says, in a line; the name of its class if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def described(error: BaseException) -> str:
    """The class of an error, and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def one_line(text: str) -> str:
    """The text with line breaks and other control characters as backslash escapes, lone surrogates too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
