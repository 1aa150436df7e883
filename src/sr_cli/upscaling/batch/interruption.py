"""Ends a batch by `KeyboardInterrupt`, where it does no harm."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.2  # between two looks whether it is wanted


class Interruption:
    """Raises `KeyboardInterrupt` in the thread that runs a batch, once it is wanted.

    An exception that a signal handler raises may leave the lock of a queue or a future taken for ever, and is lost in
    a destructor. So the handler raises it only while a network computes; everywhere else it is looked for.
    """

    def __init__(self) -> None:
        self._wanted = self._computes = False

    def want(self) -> None:
        """End the batch; for the handler of a signal."""
        self._wanted = True
        if self._computes:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if it is wanted."""
        if self._wanted:
            raise KeyboardInterrupt

    def compute(self, function: Callable[[], T]) -> T:
        """Call a function that may be interrupted anywhere."""
        try:
            self._computes = True
            self.check()
            return function()
        finally:
            self._computes = False

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items, none of them ``None``; making one may be interrupted anywhere."""
        iterator = iter(items)
        while (item := self.compute(lambda: next(iterator, None))) is not None:
            yield item

    def wait_for(self, future: Future[Any]) -> None:
        """Wait until a future is done."""
        while not future.done():
            self.check()
            wait([future], _POLL_SECONDS)
