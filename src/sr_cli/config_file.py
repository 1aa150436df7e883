"""Settings as people write them: the names of the options, and a TOML file."""

import dataclasses
import difflib
import re
import sys
from pathlib import Path
from typing import Any

from sr_cli.config import TrainConfig
from sr_cli.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


OPTIONS = {"hours": "time", "cache_gib": "cache"}
"""Settings whose option on the command line has another name."""


def option(setting: str) -> str:
    """The option of ``sr train`` that sets this, such as ``--batch-size``."""
    return "--" + OPTIONS.get(setting, setting).replace("_", "-")


def hours(text: str) -> float:
    """Read a time such as ``2h30m``, ``90m`` or ``45s``, in hours.

    Raises:
        UsageError: the text is no time.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not text:
        raise UsageError(f"{text!r} is no time; write it like 2h30m, 90m or 45s")
    h, m, s = (int(part or 0) for part in match.groups())
    return h + m / 60 + s / 3600


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
    known = {field.name: field.name for field in dataclasses.fields(TrainConfig)}
    known |= {name: setting for setting, name in OPTIONS.items()}
    settings = {}
    for key, value in found.items():
        name = known.get(key.replace("-", "_"))
        if name is None:
            close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
            raise UsageError(f"{path}: unknown setting {key!r}{hint}")
        if name in settings:
            raise UsageError(f"{path}: {key!r} is set twice")
        try:
            settings[name] = hours(value) if name == "hours" and isinstance(value, str) else value
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
    return settings
