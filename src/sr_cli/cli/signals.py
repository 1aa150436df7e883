"""Ctrl-C and SIGTERM: the first ends a batch or a training in good order, the second at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sr_cli import console
from sr_cli.errors import EXIT_INTERRUPTED
from sr_cli.signals import on_signals

if TYPE_CHECKING:
    from sr_cli.training.state import Stop

_PATIENCE = 30  # seconds for a batch to end in good order


@contextmanager
def save_on_signals(stop: "Stop", *, resume: str, tell: bool = True) -> Iterator[None]:
    """End a training: the first signal sets ``stop.wanted``, the second ends the process without saving.

    Args:
        resume: the command that continues from what was saved.
        tell: whether to print what happens.
    """

    def save(number: signal.Signals) -> None:
        stop.wanted = True
        if tell:
            again = " Press Ctrl-C again to quit without saving." if number == signal.SIGINT else ""
            console.note(f"Stopping after this step and saving.{again}")

    def end() -> None:
        console.err.show_cursor()
        if tell:
            console.note(f"stopped without saving; to continue from the last state: {resume}")
        os._exit(EXIT_INTERRUPTED)

    with on_signals(save, end):
        yield


class Interruption:
    """Ends a batch: signals raise `KeyboardInterrupt`, the first of them not within `delayed`.

    Attributes:
        wanted: set by the first signal; Python loses an exception that a signal handler raises within a destructor.
    """

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self._delayed = False

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        def first(_: signal.Signals) -> None:
            self.wanted.set()
            if not self._delayed:
                raise KeyboardInterrupt

        def second() -> None:
            raise KeyboardInterrupt

        with on_signals(first, second, patience=_PATIENCE):
            yield

    @contextmanager
    def delayed(self) -> Iterator[None]:
        """A block that the first signal does not leave."""
        self._delayed = True
        try:
            yield
        finally:
            self._delayed = False
