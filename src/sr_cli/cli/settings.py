"""Which settings a training has: a recipe, a file, options; or those of the run that goes on."""

import dataclasses
from pathlib import Path
from typing import Any

from sr_cli.config import RECIPES, TrainConfig
from sr_cli.config_file import option
from sr_cli.errors import TrainingError, UsageError

RESUMABLE = (
    "lr", "epochs", "steps", "hours", "patience", "on_nan", "workers", "cache_gib", "save_minutes", "keep",
)  # fmt: skip
"""Settings that may change when a run goes on; all others would make it another training."""


def fresh_config(given: dict[str, Any]) -> TrainConfig:
    """The recipe of ``given["arch"]`` with whatever else is given in place of its defaults.

    Raises:
        UsageError: a value makes no sense.
    """
    arch = given.get("arch", "compact")
    if arch not in RECIPES:
        raise UsageError(f"unknown arch {arch!r}; choose {', '.join(RECIPES)}")
    recipe = RECIPES[arch]
    changes = dict(given)
    if not {"epochs", "steps", "hours"}.isdisjoint(changes):
        changes = {"epochs": None, **changes}
    if isinstance(given.get("scale"), int) and "crop_size" not in changes and recipe.arch == "compact":
        changes["crop_size"] = recipe.crop_size // recipe.scale * changes["scale"]
    return _checked(recipe, changes)


def resumed_config(run: Path, given: dict[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """The settings of a run with what is given in place of them, and the run's ``config.json``.

    Raises:
        TrainingError: there is no such run, or this version doesn't know its settings.
        UsageError: something is given that cannot change, or makes no sense.
    """
    from sr_cli.run import read_config

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
