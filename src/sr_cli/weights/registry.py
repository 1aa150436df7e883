"""Which weights there are: the package's registry, the user's own entries, and the weights that ship with the package.

Nothing here looks at what has been downloaded; ``store`` does.
"""

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import platformdirs

from sr_cli.errors import WeightsError
from sr_cli.weights.header import read_metadata
from sr_cli.weights.urls import check_url, file_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Kind = Literal["loss network", "metric", "upscaler"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PRETRAINED = Path(__file__).parents[1] / "pretrained"

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Weights that have a name.

    Attributes:
        file: the file's name in the weights folder.
        urls: where it can be downloaded, in the order of trying; empty for weights that ship or came from a file.
        size: in bytes, if known.
        sha256: 64 hexadecimal digits, lower case, if known.
        scale: of an upscaler.
        path: of weights that ship with the package.
    """

    name: str
    kind: Kind
    file: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    scale: int | None = None
    license: str = ""
    source: str = ""
    note: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.file)
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 {self.sha256!r} is not 64 hexadecimal digits in lower case")
        if self.size is not None and self.size <= 0:
            raise ValueError(f"size {self.size} is not a number of bytes")
        for url in self.urls:
            check_url(url)


def check_name(name: str) -> None:
    """Refuse names that could lead out of the weights folder, or that some file system cannot hold.

    Raises:
        ValueError: anything but letters, digits and ``._+-``, or a first character that is no letter or digit.
    """
    if not _PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain name: letters, digits and . _ + - only, without folders")


def config_dir() -> Path:
    """The folder of the user's own settings."""
    return Path(platformdirs.user_config_dir("sr-cli", appauthor=False))


def own_registry() -> Path:
    """The file of the user's own entries; it need not exist."""
    return config_dir() / "registry.toml"


def entries() -> dict[str, Entry]:
    """All entries by name: the registry's, the user's own, and the weights that ship with the package.

    A table of the user's own that has the name of a registered one replaces only the keys that it sets: a company's
    mirror needs a single line.

    Raises:
        WeightsError: one of the two files cannot be read, or says something that makes no sense.
    """
    registered = _tables(PRETRAINED / "registry.toml")
    own = _tables(own_registry())
    known = {name: _entry(name, table, PRETRAINED / "registry.toml") for name, table in registered.items()}
    for name, table in own.items():
        known[name] = _entry(name, {**registered.get(name, {}), **table}, own_registry())
    for path in sorted(PRETRAINED.glob("*.safetensors")):
        known[path.stem] = _shipped(path)
    refuse_shared_files(known.values())
    return known


def entry(name: str, *, kind: Kind | None = None) -> Entry:
    """The entry of that name.

    Raises:
        WeightsError: there is none, or it is of another kind; the message has the names that there are.
    """
    known = entries()
    found = known.get(name)
    what = kind or "weights"
    if found is None or (kind and found.kind != kind):
        names = [each.name for each in known.values() if kind in (None, each.kind)]
        close = difflib.get_close_matches(name, names, n=len(names) or 1, cutoff=0.6)
        ordered = close + [each for each in names if each not in close]
        problem = f"{name} is of the kind {found.kind}, not {kind}" if found else f"no {what} called {name!r}"
        guess = f"; did you mean {close[0]}?" if close else "."
        raise WeightsError(f"{problem}{guess} Known: {', '.join(ordered) or 'none'}")
    return found


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise WeightsError(f"{path}: {name!r} stands outside any [name] table")
    return tables


_TYPES = {"urls": list, "size": int, "scale": int}


def _entry(name: str, table: Mapping[str, Any], path: Path) -> Entry:
    known = {field.name for field in fields(Entry)} - {"name", "path"}
    try:
        for key, value in table.items():
            if key not in known:
                raise ValueError(f"unknown key {key!r}; there are {', '.join(sorted(known))}")
            if not isinstance(value, _TYPES.get(key, str)):
                raise ValueError(f"{key} = {value!r} is of the wrong type")
        if "kind" not in table:
            raise ValueError("kind is missing")
        urls = tuple(table.get("urls", ()))
        if not all(isinstance(url, str) for url in urls):
            raise ValueError(f"urls = {list(urls)!r} is of the wrong type")
        file = table.get("file") or (file_of(urls[0]) if urls else "")
        if not file:
            raise ValueError("it has neither urls nor file")
        sha256 = table["sha256"].lower() if "sha256" in table else None
        return Entry(**{**table, "name": name, "urls": urls, "file": file, "sha256": sha256})
    except ValueError as error:
        raise WeightsError(f"{path}: [{name}]: {error}") from error


def _shipped(path: Path) -> Entry:
    metadata = {}
    with suppress(WeightsError):  # a damaged file is still an entry; its state will tell
        metadata = read_metadata(path)
    return Entry(
        name=path.stem,
        kind="upscaler",
        file=path.name,
        size=path.stat().st_size,
        scale=_scale(metadata),
        license=str(metadata.get("license", metadata.get("licence", ""))),  # shipped headers have the older word
        source="ships with the package",
        note=str(metadata.get("note", "")),
        path=path,
    )


def scale_in(path: Path) -> int | None:
    """The scale that a file of our own says of itself; ``None`` for any other file."""
    with suppress(WeightsError):
        return _scale(read_metadata(path))
    return None


def _scale(metadata: Mapping[str, Any]) -> int | None:
    architecture = metadata.get("architecture")
    scale = metadata.get("scale", architecture.get("scale") if isinstance(architecture, dict) else None)
    return scale if isinstance(scale, int) else None


def refuse_shared_files(known: Iterable[Entry]) -> None:
    owners: dict[str, str] = {}
    for each in known:
        owner = owners.setdefault(each.file.lower(), each.name)
        if owner != each.name:
            raise WeightsError(f"{own_registry()}: {owner} and {each.name} share the file name {each.file}; set file")
