"""The Typer application; `sr_cli.cli` adds the commands."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from sr_cli import __version__

CommandLineError: type[Any] = typer.BadParameter.__mro__[1]
"""What Typer raises for a wrong command line: its own class or Click's, depending on its version."""


class Command(TyperCommand):
    """A command whose ``--help`` shows no type where that says nothing."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _hide_types(self, ctx)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """``sr``: a picture in place of a command is upscaled; ``sr help COMMAND`` and ``sr version`` are options."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _hide_types(self, ctx)
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        installs = args[:1] == ["--install-completion"]
        try:
            return super().parse_args(ctx, ["--version"] if args == ["-v"] else args)
        finally:
            if installs:  # which ends the program
                from sr_cli.cli.completion import prefer_to_surfraw

                prefer_to_surfraw()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        first = args[0]
        if first == "help":
            if len(args) == 1:
                typer.echo(ctx.get_help())
                raise typer.Exit
            args = [args[1], "--help"]
        elif first == "version":
            _print_version(True)
        elif first not in self.commands and (os.path.lexists(first) or "." in first or "/" in first):
            args = ["upscale", *args]
        return super().resolve_command(ctx, args)


def _hide_types(command: Any, ctx: Any) -> None:
    for each in command.get_params(ctx):
        if each.param_type_name == "argument":
            each.display_type_rich = lambda **_: ""  # its name says it
        elif each.is_flag:
            each.metavar = ""


def examples(*lines: str) -> str:
    """Commands to show at the end of a ``--help``."""
    return "\n".join(["[bold]Examples[/]", "", *(f"  {line}".replace("[", "\\[") for line in lines)])


app = typer.Typer(
    name="sr",
    cls=Group,
    help="Make photos larger with small neural networks; train such networks, and measure how good they are.",
    epilog=examples("sr photo.jpg", "sr upscale photos -o large", "sr help upscale"),
    invoke_without_command=True,
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
    ctx: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
