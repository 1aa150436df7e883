"""What a transfer tells and how long it may take. Here, and not beside the transfer, so that asking where weights are
doesn't load the network library."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a transfer reports: bytes on disk, bytes of the whole if known, and at times a word to the user."""

    done: int = 0
    total: int | None = None
    note: str = ""


OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Report to nobody."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a transfer waits, and how often it tries again.

    Attributes:
        attempts: in a row that brought nothing new, before a URL is given up.
        connect: seconds until a connection must stand.
        read: seconds without a byte until a connection counts as lost.
        backoff: seconds before the second attempt; they double with every further one.
        longest_wait: seconds; a server that asks for more by Retry-After is given up.
    """

    attempts: int = 5
    connect: float = 10
    read: float = 30
    backoff: float = 1
    longest_wait: float = 120
