"""Ctrl-C and SIGTERM, from the first line of the program on: `sr_cli.__main__` imports this before anything else.

Unless a command asks for more by `on_signals`, a signal ends the process at once, with one line. An exception would be
lost, or end in a traceback, in whatever import it comes upon. Files are safe: none has its name before it is whole.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sr_cli.errors import EXIT_INTERRUPTED

NUMBERS = (signal.SIGINT, signal.SIGTERM)
GRACE = 0.5  # seconds that the second signal leaves to a process that is ending
cleanups: list[Callable[[], None]] = []
"""Called before a signal ends the process at once."""

stderr = 2
"""The file descriptor of stderr: another one while that is kept silent."""

_message = "interrupted"
_is_orderly = False  # whether a command handles signals itself
_patience: float | None = None  # seconds that it then has
_handled_there = 0  # signals that it did
_ending = threading.Lock()


def install() -> None:
    """End the process at SIGINT and SIGTERM, unless the shell ignores them."""
    for number in _handled():
        signal.signal(number, lambda *_: end())


def watch() -> Callable[[], None]:
    """End the process even while its main thread computes and cannot run a handler; returns what ends the watch."""
    pipe, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # its signals are not ours
    thread = threading.Thread(target=_watch, args=(pipe,), daemon=True, name="signals")
    thread.start()

    def unwatch() -> None:
        signal.set_wakeup_fd(-1)
        os.close(told)
        thread.join(1)  # one that is left when Python ends loads a library, and aborts where memory is too short

    return unwatch


def end(message: str | None = None, code: int = EXIT_INTERRUPTED) -> None:
    """End the process, with one line."""
    if not _ending.acquire(blocking=False):
        return  # another thread is about to
    for clean_up in cleanups:
        clean_up()
    with suppress(OSError):
        clear = "\r\033[2K\033[?25h" if os.isatty(stderr) else ""  # a progress bar, and show the cursor
        os.write(stderr, f"{clear}error: {message or _message}\n".encode(errors="backslashreplace"))
    os._exit(code)


@contextmanager
def saying(message: str) -> Iterator[None]:
    """What a signal within the block prints, in place of "interrupted"."""
    global _message
    before, _message = _message, message
    try:
        yield
    finally:
        _message = before


@contextmanager
def on_signals(
    first: Callable[[signal.Signals], None], second: Callable[[], None], *, patience: float | None = None
) -> Iterator[None]:
    """Call ``first`` at the first SIGINT or SIGTERM and ``second`` at later ones, unless the shell ignores them.

    A process that the second signal has not ended after `GRACE` seconds is ended, and one that is still in the block
    ``patience`` seconds after the first: an exception that interrupts a thread may leave a lock that others wait for.
    """
    global _is_orderly, _patience
    received = False

    def receive(number: int, _: object) -> None:
        global _handled_there
        nonlocal received
        _handled_there += 1
        again, received = received, True
        if again:
            second()
        else:
            first(signal.Signals(number))

    before = {number: signal.getsignal(number) for number in _handled()}
    _is_orderly, _patience = True, patience
    for number in before:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _is_orderly = False


def _handled() -> list[signal.Signals]:
    return [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]


def _watch(pipe: int) -> None:
    count, deadline = 0, None
    while True:
        seconds = None if deadline is None else max(0, deadline - time.monotonic())
        if not select.select([pipe], [], [], seconds)[0]:
            if _is_orderly:
                end()
            deadline = None
            continue
        byte = os.read(pipe, 1)
        if not byte:
            break
        if byte[0] in NUMBERS:
            count += 1
            time.sleep(GRACE if count > 1 else 0.05)  # for the main thread to handle it
            if count > 1 or not (_is_orderly or _handled_there):
                end()
            deadline = time.monotonic() + _patience if _patience else None
    os.close(pipe)
