"""The settings of a training in a TOML file."""

import difflib
from pathlib import Path
from typing import Any

from sr_cli.config import TrainConfig, by_option, check_setting
from sr_cli.degradation_table import read_table
from sr_cli.errors import UsageError, as_usage_error, first_line, reading
from sr_cli.system.packages import parse_toml


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
            found = parse_toml(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: TOML or UTF-8 that isn't, numbers without end
        raise UsageError(f"{path}: not a TOML file ({first_line(error)})") from error
    known = by_option(TrainConfig)
    settings: dict[str, Any] = {}
    for key, value in found.items():
        if key == "degradation" and isinstance(value, dict):
            with as_usage_error(f"{path}: "):
                settings |= {"degradation": "real", "real": read_table(value)}
            continue
        each = known.get(key.replace("-", "_"))
        if each is None:
            close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; the settings are {', '.join(sorted(known))}"
            raise UsageError(f"{path}: unknown setting {key!r}{hint}")
        if each.name in settings:
            raise UsageError(f"{path}: {key!r} is set twice")
        parse = each.metadata["parse"]
        try:
            settings[each.name] = parse(value) if parse and isinstance(value, str) else value
            check_setting(each, settings[each.name])
        except ValueError as error:
            about = "" if str(error).startswith(each.name) else f"{key}: "
            raise UsageError(f"{path}: {about}{error}") from error
    return settings


def run_folder(resume: str, runs_dir: Path) -> Path:
    """The folder of the run that ``--resume`` names: a path, or a name in ``runs_dir``."""
    path = Path(resume)
    return path if len(path.parts) > 1 or (path / "config.json").is_file() else runs_dir / resume
