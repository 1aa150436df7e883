"""The settings of a training: from a recipe and what was given, or from the run that is resumed."""

import dataclasses
import difflib
from pathlib import Path
from typing import Any

from sr_cli.config import DEFAULT_ARCH, TrainConfig, by_option, flag, recipe
from sr_cli.errors import TrainingError, UsageError, as_usage_error
from sr_cli.networks.registry import is_registered
from sr_cli.training.run_folder import read_config

_FIELDS = {each.name: each for each in dataclasses.fields(TrainConfig)}

RESUMABLE = {"lr", "epochs", "steps", "hours", "patience", "on_nan", "workers", "cache_gib", "save_minutes", "keep"}
"""Settings that may change when a run is resumed; with any other it would be another training."""


def fresh_config(given: dict[str, Any]) -> TrainConfig:
    """The recipe of ``given["arch"]``, overridden by ``given``; a `UsageError` if a value is invalid."""
    if given.get("degradation") != "real":  # an option overrides the table of a settings file
        given = {key: value for key, value in given.items() if key != "real"}
    if unknown := given.keys() - _FIELDS.keys():
        close = (
            ["run"]
            if "name" in unknown
            else difflib.get_close_matches(min(unknown), by_option(TrainConfig), n=1, cutoff=0.7)
        )
        raise UsageError(f"no setting is called {min(unknown)!r}{f'; did you mean {close[0]}?' if close else ''}")
    ends = {} if {"epochs", "steps", "hours"}.isdisjoint(given) else {"epochs": None}
    with as_usage_error():
        return dataclasses.replace(recipe(given.get("arch", DEFAULT_ARCH), scale=given.get("scale")), **ends | given)


def resumed_config(run: Path, given: dict[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """The settings of a run, overridden by ``given``, and its ``config.json``.

    Raises:
        TrainingError: there is no such run, or its settings are of another version.
        UsageError: a value is invalid, or cannot change.
    """
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
            changeable = ", ".join(flag(each) for each in _FIELDS.values() if each.name in RESUMABLE)
            fixed = f"{flag(_FIELDS[name])} is {getattr(settings, name)} in {run}"
            raise UsageError(f"{fixed} and cannot change; these can: {changeable}")
    with as_usage_error():
        return dataclasses.replace(settings, **given), before
