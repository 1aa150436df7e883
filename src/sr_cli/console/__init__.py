"""Output for people: results on stdout, progress and errors on stderr. One file per subject; shared parts are here."""

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(soft_wrap=True, highlight=False, emoji=False)
"""For results."""

err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
"""For progress, warnings and errors."""


def error(message: str) -> None:
    """Print one line that begins with ``error:``; control characters in file names are shown as escapes."""
    err.print(f"[bold red]error:[/] {escape(one_line(message))}")


def warning(message: str) -> None:
    """Print one line that begins with ``warning:``."""
    err.print(f"[yellow]warning:[/] {escape(one_line(message))}")


def note(message: str) -> None:
    """Print a plain line on stderr."""
    err.print(escape(one_line(message)))


def print_whole(table: Table) -> None:
    """Print a table on stdout, fitted to a terminal, uncut elsewhere."""
    if not out.is_terminal:
        out.width = 1000
    out.print(table)


def one_line(text: str) -> str:
    """The text with line breaks and other control characters as backslash escapes, lone surrogates too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def on_a_terminal() -> bool:
    """Whether the user can be asked: stdin and stderr are both terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def shows_color() -> bool:
    """Whether an image can be shown: on a terminal that is not dumb, and without ``NO_COLOR``."""
    return on_a_terminal() and err.is_terminal and not err.is_dumb_terminal and not err.no_color
