"""How ``sr models`` looks."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from sr_cli import console
from sr_cli.system.quantities import megabytes


def show(models: Iterable[Mapping[str, Any]]) -> None:
    """Print a row for each model, with a star at the default one."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "scale", "size", "state", "for"):
        table.add_column(column, justify="right" if column in ("scale", "size") else "left", no_wrap=column != "for")
    for model in models:
        scale = f"x{model['scale']}" if model["scale"] else ""
        size = megabytes(model["size"]) if model["size"] else ""
        name = model["name"] + " *" * model["default"]
        table.add_row(escape(name), scale, size, model["state"], escape(model["note"]))
    console.out.print(table)
    console.out.print("* the default")
