"""``sr models``."""

import json
from typing import Annotated

import typer

from sr_cli import weights
from sr_cli.config import DEFAULT_MODEL
from sr_cli.console import models as view


def models(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models for `sr upscale --model`: scale, size, purpose, and which is the default."""
    rows = [
        {
            "name": entry.name,
            "scale": entry.scale,
            "size": entry.size,
            "state": weights.state(entry),
            "default": entry.name == DEFAULT_MODEL,
            "note": entry.note,
            "license": entry.license,
        }
        for entry in weights.entries().values()
        if entry.kind == "upscaler"
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        view.show(rows)
