"""The settings of a training: a recipe, a TOML file and options, or those of the run that is resumed."""

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any

from sr_cli.cli.options import flag
from sr_cli.config import DEFAULT_ARCH, TrainConfig, recipe
from sr_cli.errors import TrainingError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


SETTINGS = {each.name: each for each in dataclasses.fields(TrainConfig)}


def option(setting: str) -> str:
    """The option of ``sr train`` that sets this, such as ``--batch-size``."""
    return flag(SETTINGS[setting])


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings of a training, named as the options or as in `TrainConfig`; dashes count as underscores.

    Returns:
        What the file sets; values are checked where they are used.

    Raises:
        UsageError: the file is missing or no TOML, or has a key that no setting has.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file ({error})") from error
    known = {name: name for name in SETTINGS}
    known |= {option(name)[2:].replace("-", "_"): name for name in SETTINGS}
    settings = {}
    for key, value in found.items():
        name = known.get(key.replace("-", "_"))
        if name is None:
            close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
            raise UsageError(f"{path}: unknown setting {key!r}{hint}")
        if name in settings:
            raise UsageError(f"{path}: {key!r} is set twice")
        parse = SETTINGS[name].metadata["parse"]
        try:
            settings[name] = parse(value) if parse and isinstance(value, str) else value
        except ValueError as error:
            raise UsageError(f"{path}: {key}: {error}") from error
    return settings


RESUMABLE = (
    "lr", "epochs", "steps", "hours", "patience", "on_nan", "workers", "cache_gib", "save_minutes", "keep",
)  # fmt: skip
"""Settings that may change when a run goes on; all others would make it another training."""


def fresh_config(given: dict[str, Any]) -> TrainConfig:
    """The recipe of ``given["arch"]`` with whatever else is given in place of its defaults.

    Raises:
        UsageError: a value makes no sense.
    """
    ends = {} if {"epochs", "steps", "hours"}.isdisjoint(given) else {"epochs": None}
    try:
        start = recipe(given.get("arch", DEFAULT_ARCH), scale=given.get("scale"))
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    return _checked(start, ends | given)


def resumed_config(run: Path, given: dict[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """The settings of a run with what is given in place of them, and the run's ``config.json``.

    Raises:
        TrainingError: there is no such run, or this version doesn't know its settings.
        UsageError: something is given that cannot change, or makes no sense.
    """
    from sr_cli.training.run_folder import read_config

    before = read_config(run)
    try:
        settings = TrainConfig(**before["settings"])
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{run}: this version of sr doesn't know its settings ({error})") from error
    for name, value in given.items():
        if name not in RESUMABLE and value != getattr(settings, name):
            shown = getattr(settings, name)
            changeable = ", ".join(map(option, RESUMABLE))
            raise UsageError(f"{option(name)} is {shown} in {run} and cannot change; these can: {changeable}")
    return _checked(settings, given), before


def run_folder(resume: str, runs_dir: Path) -> Path:
    """The run that is meant: a folder, or a name in the folder of the runs."""
    path = Path(resume)
    return path if len(path.parts) > 1 or (path / "config.json").is_file() else runs_dir / resume


def _checked(config: TrainConfig, changes: dict[str, Any]) -> TrainConfig:
    try:
        return dataclasses.replace(config, **changes)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
