"""``sr info``."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def info(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a bug report.")] = False,
) -> None:
    """Show versions, devices and weights, and give hints.

    The state of CPU and GPUs is there as well; hints say what could be better on this machine.
    """
    from sr_cli.console import info as view
    from sr_cli.info import collect

    found = collect()
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    elif markdown:
        view.show_markdown(found)
    else:
        view.show(found)
