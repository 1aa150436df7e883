"""The list of models."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from sr_cli import console


def show(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a row a model; the default one is marked with a star."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "scale", "size", "state", "for"):
        table.add_column(column, justify="right" if column in ("scale", "size") else "left", no_wrap=column != "for")
    for row in rows:
        size = f"{row['size'] / 1e3:.0f} KB" if row["size"] else ""
        scale = f"x{row['scale']}" if row["scale"] else ""
        name = f"{row['name']}{' *' if row['default'] else ''}"
        table.add_row(escape(name), scale, size, row["state"], escape(row["note"]))
    console.out.print(table)
    console.out.print("* the default")
