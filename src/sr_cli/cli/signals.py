"""Ctrl-C and SIGTERM: the first ends a batch or a training in good order, the second at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sr_cli import console
from sr_cli.errors import EXIT_INTERRUPTED
from sr_cli.signals import end, on_signals

if TYPE_CHECKING:
    from sr_cli.training.state import Stop
    from sr_cli.upscaling.batch.interruption import Interruption

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

    def quit_at_once() -> None:
        console.err.show_cursor()
        if tell:
            console.note(f"stopped without saving; to continue from the last state: {resume}")
        os._exit(EXIT_INTERRUPTED)

    with on_signals(save, quit_at_once):
        yield


@contextmanager
def interrupt_on_signals(interruption: "Interruption") -> Iterator[None]:
    """End a batch: the first signal in good order, within `_PATIENCE` seconds, the second at once."""
    with on_signals(lambda _: interruption.want(), end, patience=_PATIENCE):
        yield
