"""The settings of a training: from a recipe, a TOML file and options, or from the run that is resumed."""

import dataclasses
import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sr_cli.cli.options import flag
from sr_cli.config import DEFAULT_ARCH, TrainConfig, check_setting, recipe
from sr_cli.degradation_table import read_table
from sr_cli.errors import TrainingError, UsageError, first_line, reading
from sr_cli.networks.registry import is_registered

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


SETTINGS = {each.name: each for each in dataclasses.fields(TrainConfig) if "help" in each.metadata}
"""The fields of `TrainConfig` that have options, by name."""


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings in a TOML file, by the names of options or of `TrainConfig`; dashes count as underscores.

    A table ``[degradation]`` is that of real degradations, and chooses them.

    Returns:
        The settings. Each has been checked, but not whether they fit together.

    Raises:
        UsageError: the file cannot be read, is not TOML, or has an unknown key or a value that is out of range.
    """
    try:
        with reading(path, UsageError):
            found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: TOML or UTF-8 that isn't, numbers without end
        raise UsageError(f"{path}: not a TOML file ({first_line(error)})") from error
    options = {flag(each)[2:].replace("-", "_"): name for name, each in SETTINGS.items() if each.metadata}
    known = options | {name: name for name in options.values()}
    settings: dict[str, Any] = {}
    for key, value in found.items():
        if key == "degradation" and isinstance(value, dict):
            try:
                settings |= {"degradation": "real", "real": read_table(value)}
            except ValueError as error:
                raise UsageError(f"{path}: {error}") from error
            continue
        name = known.get(key.replace("-", "_"))
        if name is None:
            close = difflib.get_close_matches(key.replace("-", "_"), options, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; the settings are {', '.join(sorted(options))}"
            raise UsageError(f"{path}: unknown setting {key!r}{hint}")
        if name in settings:
            raise UsageError(f"{path}: {key!r} is set twice")
        parse = SETTINGS[name].metadata["parse"]
        try:
            settings[name] = parse(value) if parse and isinstance(value, str) else value
            check_setting(SETTINGS[name], settings[name])
        except ValueError as error:
            about = "" if str(error).startswith(name) else f"{key}: "
            raise UsageError(f"{path}: {about}{error}") from error
    return settings


RESUMABLE = {"lr", "epochs", "steps", "hours", "patience", "on_nan", "workers", "cache_gib", "save_minutes", "keep"}
"""Settings that may change when a run is resumed; with any other it would be another training."""


def fresh_config(given: dict[str, Any]) -> TrainConfig:
    """The recipe of ``given["arch"]``, overridden by ``given``.

    Raises:
        UsageError: a value is invalid.
    """
    if given.get("degradation") != "real":  # an option overrides the table of a settings file
        given = {key: value for key, value in given.items() if key != "real"}
    ends = {} if {"epochs", "steps", "hours"}.isdisjoint(given) else {"epochs": None}
    with _as_usage_error():
        return dataclasses.replace(recipe(given.get("arch", DEFAULT_ARCH), scale=given.get("scale")), **ends | given)


def resumed_config(run: Path, given: dict[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """The settings of a run, overridden by ``given``, and its ``config.json``.

    Raises:
        TrainingError: there is no such run, or its settings are of another version.
        UsageError: a value is invalid, or cannot change.
    """
    from sr_cli.training.run_folder import read_config

    before = read_config(run)
    arch = before["settings"].get("arch", TrainConfig.arch)
    if not is_registered(arch) and arch != given.get("arch"):
        raise UsageError(f"{run}: trains {arch}, a network that is not registered here; if you trust it: --arch {arch}")
    try:
        settings = TrainConfig(**before["settings"])
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{run}: its settings are of another version of sr ({error})") from error
    for name, value in given.items():
        if name == "real" and value != settings.real:
            raise UsageError(f"{run}: began with another table of real degradations, which cannot change")
        if name not in RESUMABLE and value != getattr(settings, name):
            changeable = ", ".join(flag(each) for each in SETTINGS.values() if each.name in RESUMABLE)
            fixed = f"{flag(SETTINGS[name])} is {getattr(settings, name)} in {run}"
            raise UsageError(f"{fixed} and cannot change; these can: {changeable}")
    with _as_usage_error():
        return dataclasses.replace(settings, **given), before


def run_folder(resume: str, runs_dir: Path) -> Path:
    """The folder of the run that ``--resume`` names: a path, or a name in ``runs_dir``."""
    path = Path(resume)
    return path if len(path.parts) > 1 or (path / "config.json").is_file() else runs_dir / resume


@contextmanager
def _as_usage_error() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
