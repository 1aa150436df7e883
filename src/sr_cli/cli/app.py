"""The Typer application; `sr_cli.cli` adds the commands."""

from typing import Annotated

import typer

from sr_cli import __version__

app = typer.Typer(
    name="sr",
    help="Make small images large: train super-resolution networks with perceptual losses, upscale with them, "
    "and measure how good they are.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass
