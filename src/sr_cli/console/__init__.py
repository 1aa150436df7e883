"""Output for people: results on stdout, progress and errors on stderr. One file per subject; shared parts are here."""

import sys
import textwrap
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sr_cli.errors import OutputError
from sr_cli.errors import one_line as one_line

out = Console(soft_wrap=True, highlight=False, emoji=False)
"""For results."""

err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
"""For progress, warnings and errors."""


_log: TextIO | None = None


def log_to(path: Path) -> None:
    """Append to a file, from now on, what stderr and `log` are given; an `OutputError` if it cannot be written."""
    global _log
    try:
        _log = path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def log(message: str) -> None:
    """Write a line with the time to the log file, if there is one."""
    if _log is not None:
        _log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {one_line(message)}\n")


def error(message: str, *, logged: bool = False) -> None:
    """Print a line that begins with ``error:``, control characters as escapes; ``logged``: `log` has had it."""
    if not logged:
        log(f"error: {message}")
    _say(message, "error: ", "bold red")


def warning(message: str) -> None:
    """Print one line that begins with ``warning:``."""
    log(f"warning: {message}")
    _say(message, "warning: ", "yellow")


def note(message: str) -> None:
    """Print a plain line on stderr."""
    log(message)
    _say(message)


def _say(message: str, prefix: str = "", style: str = "") -> None:
    """Print a line: broken between words on a terminal, whole elsewhere."""
    line = prefix + one_line(message)
    if err.is_terminal:
        line = textwrap.fill(line, err.width, break_long_words=False, break_on_hyphens=False)
    err.print(Text.assemble((line[: len(prefix)], style), line[len(prefix) :]))


def print_whole(table: Table) -> None:
    """Print a table on stdout, fitted to a terminal, uncut elsewhere."""
    if out.is_terminal:
        out.print(table)
        return
    out.width = 1000
    with out.capture() as printed:
        out.print(table)
    out.file.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
    out.file.flush()


def on_a_terminal() -> bool:
    """Whether the user can be asked: stdin and stderr are both terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def shows_color() -> bool:
    """Whether an image can be shown: on a terminal that is not dumb, and without ``NO_COLOR``."""
    return on_a_terminal() and err.is_terminal and not err.is_dumb_terminal and not err.no_color
