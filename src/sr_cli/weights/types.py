"""What the modules of this package pass to each other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["loss network", "metric", "upscaler"]
KINDS: tuple[Kind, ...] = get_args(Kind)

State = Literal["shipped", "cached", "missing", "corrupt"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a download: bytes on disk, bytes of the whole file if known, and now and then a note to the user."""

    done: int = 0
    total: int | None = None
    note: str = ""


OnProgress = Callable[[Progress], None]

LEAST_PROGRESS = 1 << 16  # bytes
LEAST_DATA = 1 << 14  # bytes


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long a download waits, and how often it tries again.

    Attributes:
        attempts: failed attempts in a row, each with less than `LEAST_PROGRESS`, before a URL is given up.
        connect: seconds until a connection attempt times out.
        read: seconds without data, or with less than `LEAST_DATA`, until a connection counts as lost.
        backoff: seconds before a second retry; they double with each further one.
    """

    attempts: int = 5
    connect: float = 10
    read: float = 30
    backoff: float = 1


DEFAULT_RETRIES = RetryPolicy()
