"""Options generated from the fields of a config: a default, a help text and a range are written once."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from sr_cli.cli.completion import completer
from sr_cli.config import flag
from sr_cli.errors import UsageError, as_usage_error

_WIDE = 16  # columns of choices that the help shows in place of a type


def options(config: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every field of a config that was made by `sr_cli.config.setting`.

    The options take the place of the command's parameter ``given``, which becomes a dictionary of the fields that the
    user set, so that a recipe or a file can stand in for the others. ``--help`` shows the config's defaults.
    """
    settings = {each.name: each for each in fields(config) if "help" in each.metadata}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(ctx: typer.Context, **values: Any) -> None:
            chosen = {name: values.pop(name) for name in settings}
            command(
                given={
                    name: _parse(settings[name], value)
                    for name, value in chosen.items()
                    if (source := ctx.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
                },
                **values,
            )

        parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name == "given":
                parameters += [_parameter(each) for each in settings.values()]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def option(
    help: str, panel: str, *flags: str, metavar: str | None = None, shown: bool | str = True, min: float | None = None
) -> Any:
    """An option that isn't a setting; the help shows ``shown`` in place of the default."""
    return typer.Option(
        *flags,
        help=help,
        rich_help_panel=panel,
        metavar=metavar,
        show_default=shown,
        min=min,
        autocompletion=completer(flags[0].strip("-")),
    )


def yes_option(panel: str) -> Any:
    """The option ``--yes`` of commands that take models by name."""
    return option("Download a model that is missing without asking.", panel, "--yes", "-y")


def check_page(path: Path | None) -> None:
    """Refuse now what would fail after all the work, or give the page a misleading name."""
    if path and path.is_dir():
        raise UsageError(f"--report {path}: is a folder; name a file in it")
    if path and path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {path}: the name has to end with .html")


def show_defaults(parameters: Iterable[Any], config: Any) -> None:
    """Let ``--help`` show the values that ``config`` has in place of its class's defaults."""
    settings = {each.name: each for each in fields(config)}
    for parameter in parameters:
        if parameter.name in settings:
            value, each = getattr(config, parameter.name), settings[parameter.name]
            parameter.default, parameter.show_default = value, _shown(each, value)


def _parameter(setting: Field[Any]) -> inspect.Parameter:
    about: Mapping[str, Any] = setting.metadata
    help, metavar = about["help"], about["metavar"] or _metavar(setting)
    if metavar and len(metavar) > _WIDE and " | " in metavar:  # it would leave the texts a narrow column
        help, metavar = f"{help} Choices: {metavar.replace(' |', ',')}.", "NAME"
    option = typer.Option(
        *(about["flags"] or (flag(setting),)),
        help=help,
        rich_help_panel=about["panel"],
        metavar=metavar,
        show_default=_shown(setting, setting.default),
        min=about["min"],
        max=about["max"] if (about["max"] or 0) < 10**6 else None,  # the config checks it; nobody needs to know it
        autocompletion=completer(setting.name),
    )
    kind, default = setting.type, setting.default
    if get_origin(kind) is tuple:
        kind = list[str]  # which Typer can repeat; the config checks the values
    elif about["parse"]:
        kind, default = str | None, None if default is None else str(default)
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _metavar(setting: Field[Any]) -> str | None:
    """What ``--help`` shows in place of the value: choices with spaces, at which a narrow terminal breaks the line."""
    for kind in (setting.type, *get_args(setting.type)):
        if get_origin(kind) is Literal:
            return " | ".join(get_args(kind))
        if kind in (int, float):
            return "N"
    return None


def _shown(setting: Field[Any], value: object) -> bool | str:
    """What ``--help`` shows as the default: a text, or the value itself unless it is ``None``."""
    text: str | None = setting.metadata["shown"]
    return text if text is not None and value == setting.default else value is not None


def _parse(setting: Field[Any], value: Any) -> Any:
    parse: Callable[[str], object] | None = setting.metadata["parse"]
    if parse is None:
        return tuple(value) if isinstance(value, list) else value
    with as_usage_error(f"{flag(setting)}: "):
        return parse(value)
