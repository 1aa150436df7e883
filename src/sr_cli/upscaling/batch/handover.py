"""Handing a result on, piece by piece, from the thread that computes it to the one that writes it."""

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_PIECES = 12  # that may wait; each is a few megabytes, or a whole small picture
_LOOK = 0.2  # seconds between two looks at whether the other side has given up


class Abandoned(Exception):  # noqa: N818
    """Nobody takes the pieces any more; whoever took them knows why."""


class Handover(Generic[T]):
    """A bounded queue with an end. Either side may fail, and the other one learns of it."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[T | None] = queue.Queue(_PIECES)
        self._error: BaseException | None = None
        self._closed = threading.Event()

    def put(self, piece: T | None) -> None:
        """Hand on a piece; ``None`` is the end.

        Raises:
            Abandoned: the other side has closed.
        """
        while not self._closed.is_set():
            try:
                self._pieces.put(piece, timeout=_LOOK)
            except queue.Full:
                continue
            return
        raise Abandoned

    def fail(self, error: BaseException) -> None:
        """Let the other side end with this error, whatever still waits."""
        self._error = error

    def close(self) -> None:
        """Take no more."""
        self._closed.set()

    def __iter__(self) -> Iterator[T]:
        while True:
            if self._error is not None:
                raise self._error
            try:
                piece = self._pieces.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if piece is None:
                return
            yield piece
