"""Ctrl-C and SIGTERM while a training runs: the first asks it to save and end, the second ends it at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sr_cli import console
from sr_cli.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from sr_cli.training import Stop


@contextmanager
def stopped_by_signals(stop: "Stop", *, resume: str, tell: bool = True) -> Iterator[None]:
    """Set ``stop.wanted`` at the first signal.

    Args:
        resume: the command that goes on with what was saved.
        tell: whether to say what happens.
    """

    def receive(number: int, _: Any) -> None:
        if stop.wanted:
            console.err.show_cursor()
            if tell:
                console.note(f"stopped without saving; to continue from the last state: {resume}")
            os._exit(EXIT_INTERRUPTED)
        stop.wanted = True
        if tell:
            again = " Press Ctrl-C again to quit without saving." if number == signal.SIGINT else ""
            console.note(f"Stopping after this step and saving.{again}")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
