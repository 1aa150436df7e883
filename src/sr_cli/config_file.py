"""Settings from a TOML file."""

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any

from sr_cli.config import TrainConfig
from sr_cli.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings of a training, named as in `TrainConfig`; dashes in a name count as underscores.

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
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    settings = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
            raise UsageError(f"{path}: unknown setting {key!r}{hint}")
        if name in settings:
            raise UsageError(f"{path}: {key!r} is set twice")
        settings[name] = value
    return settings
