"""Names of weights: those in the package's registry, the user's own, and those that ship with the package.

Names that none of them has are looked up in the catalog of community models. ``store`` knows which files are on this
machine.
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import platformdirs

from sr_cli.errors import WeightsError
from sr_cli.system.atomic_files import write_atomically
from sr_cli.system.packages import parse_toml
from sr_cli.weights import catalog
from sr_cli.weights.content import read_metadata
from sr_cli.weights.types import KINDS, Kind

PRETRAINED = Path(__file__).parents[1] / "pretrained"
REGISTRY = "registry.toml"
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")
"""Suffixes of the weights files in the data folder that need no entry in a registry."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VGG_KEY = re.compile(rb"features\.0\.weight(?<![\w.]features\.0\.weight)")  # looking behind first is 60 times slower
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Named weights.

    Attributes:
        file: file name in the data folder.
        urls: where to download the file, in order of preference; empty if it shipped or came from a local file.
        size: in bytes, if known.
        sha256: 64 lower-case hexadecimal digits, if known.
        scale: upscaling factor; upscalers only.
        architecture: of the network, as the catalog calls it.
        tags: what it is for, in the catalog's words.
        path: of weights that ship with the package.
    """

    name: str
    kind: Kind
    file: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    scale: int | None = None
    architecture: str = ""
    author: str = ""
    date: str = ""
    tags: tuple[str, ...] = ()
    license: str = ""
    source: str = ""
    note: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        for name in (self.name, self.file):
            if not _PLAIN_NAME.fullmatch(name) or name == REGISTRY:
                raise ValueError(f"invalid name {name!r}: use letters, digits and . _ + - only, without folders")
        if self.kind not in KINDS:
            raise ValueError(f"invalid kind {self.kind!r}: choose {', '.join(KINDS)}")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"invalid sha256 {self.sha256!r}: expected 64 hexadecimal digits")
        if self.size is not None and self.size <= 0:
            raise ValueError(f"invalid size {self.size}: expected a number of bytes")
        for url in self.urls:
            check_url(url)


def data_dir() -> Path:
    """The folder of downloaded weights: ``SR_DATA_DIR``, or the system's user data folder."""
    chosen = os.environ.get("SR_DATA_DIR")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_data_path("sr-cli", appauthor=False)


def user_registry_path() -> Path:
    """The file in the data folder for the user's own entries; it need not exist."""
    return data_dir() / REGISTRY


def entries() -> dict[str, Entry]:
    """All entries by name: the package's, the user's, and the files that describe themselves; not all of the catalog.

    A table in the user's registry overrides single keys of the package's table of that name, so a mirror takes one
    line. Other weights files in the data folder are entries under their stem; the catalog describes them, or their
    content tells the kind.

    Raises:
        WeightsError: a registry cannot be read, or has an invalid entry.
    """
    registered = _read_tables(PRETRAINED / REGISTRY)
    known = {name: _entry(name, table, PRETRAINED / REGISTRY) for name, table in registered.items()}
    for name, table in _read_tables(user_registry_path()).items():
        inherited = registered.get(name) or catalog.tables().get(name, {})
        known[name] = _entry(name, {**inherited, **table}, user_registry_path())
    known |= _shipped(PRETRAINED)
    owners: dict[str, str] = {}
    for each in known.values():
        if (owner := owners.setdefault(each.file.lower(), each.name)) != each.name:
            raise WeightsError(f"{user_registry_path()}: {owner} and {each.name} share the file {each.file}; set file")
    for path in sorted(data_dir().glob("*")):
        if path.suffix in SUFFIXES and path.name.lower() not in owners and path.stem not in known:
            with suppress(OSError, ValueError):  # gone by now, or a file name that no entry can have
                listed = catalog.tables().get(path.stem)
                is_listed = listed is not None and listed["file"] == path.name
                known[path.stem] = catalog_entry(path.stem) if is_listed else _describe(path)
    return known


@cache
def _shipped(folder: Path) -> dict[str, Entry]:
    paths = sorted(folder.glob("*.safetensors"))
    return {path.stem: replace(_describe(path), source="ships with the package", path=path) for path in paths}


def catalog_entry(name: str) -> Entry:
    """A model of the catalog."""
    return _entry(name, catalog.tables()[name], catalog.CATALOG)


def entry(name: str, *, kind: Kind | None = None) -> Entry:
    """Look up an entry, or a model of the catalog, by its name or an alias; see `catalog.plain`.

    Raises:
        WeightsError: nothing has that name, or it is of another kind; the message suggests names.
    """
    known = entries()
    found = _find(name, known)
    if found and kind in (None, found.kind):
        return found
    names = [each.name for each in known.values() if kind in (None, each.kind)]
    problem = f"{name} is of kind {found.kind}, not {kind}" if found else f"no {kind or 'weights'} called {name!r}"
    called = {catalog.plain(each): [each] for each in names}
    if kind in (None, "upscaler"):
        called = called | catalog.names() | called  # ours first
    wanted = catalog.plain(name)
    near = [each for each in called if wanted and wanted in each] or difflib.get_close_matches(wanted, called, n=3)
    close = list(dict.fromkeys(each for key in near for each in called[key]))[:5]
    if is_path(run := Path("runs", name)) and run.is_dir():
        close = [str(run)]
    guess = f"; did you mean {' or '.join(filter(None, (', '.join(close[:-1]), close[-1])))}?" if close else "."
    raise WeightsError(
        f"{problem}{guess} Here: {', '.join(names) or 'none'}; `sr models --catalog WORD` searches those of others"
    )


def _find(name: str, known: Mapping[str, Entry]) -> Entry | None:
    if name in known:
        return known[name]
    wanted = catalog.plain(name)
    models = [each for each in known if catalog.plain(each) == wanted] or catalog.names().get(wanted, [])
    if len(models) != 1:
        return None
    return known.get(models[0]) or catalog_entry(models[0])


def entry_or_new(name: str, source: str) -> Entry:
    """The entry called ``name``, or a new one for ``source``, whose suffix its file takes over.

    A file in the data folder that no registry names may be replaced by any other with its suffix.

    Args:
        source: a path or a URL.

    Raises:
        WeightsError: a new name is no plain name, or its source has none of the `SUFFIXES`, or not the suffix of
            the file that it replaces.
    """
    found = _find(name, entries())
    listed = _read_tables(PRETRAINED / REGISTRY) | _read_tables(user_registry_path()) | catalog.tables()
    if found and (found.path or found.name in listed):
        return found
    suffix = Path(urlsplit(source).path).suffix
    if suffix not in SUFFIXES:
        raise WeightsError(
            f"no weights called {name!r}; to add your own, give a file that ends in {'/'.join(SUFFIXES)}"
        )
    if found and found.file != name + suffix:
        raise WeightsError(f"{name} is {found.file}; to replace it, first run `sr download-weights {name} --remove`")
    try:
        return Entry(name=name, kind="upscaler", file=name + suffix)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def is_url(text: str) -> bool:
    """Whether a model is named by its URL."""
    return text.lower().startswith(("https://", "http://"))


def is_path(model: str | Path) -> bool:
    """Whether a model is named by its file or the folder of its run: has a suffix or a folder, or is such a folder."""
    path = Path(model)
    return bool(path.suffix) or len(path.parts) > 1 or (path / "config.json").is_file()


def entry_of_url(url: str) -> Entry:
    """The entry that has this URL, or a new one, named after the URL's last part.

    Raises:
        WeightsError: the URL is not allowed (see `check_url`), or doesn't end like a weights file.
    """
    for each in (*entries().values(), *map(catalog_entry, catalog.tables())):
        if url in each.urls:
            return each
    file = Path(re.sub(r"[^A-Za-z0-9._+-]+", "-", unquote(urlsplit(url).path.rpartition("/")[2])).lstrip("-._+"))
    name = file.stem
    if _find(name, entries()):  # another file of that name
        name += f"-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    try:
        return replace(entry_or_new(name, file.name), urls=(url,))
    except ValueError as error:
        raise WeightsError(str(error)) from error


def remember(entry: Entry) -> None:
    """Write an entry into the user's registry; an `OutputError` if it cannot be written."""
    path = user_registry_path()
    values = {
        "kind": entry.kind,
        "urls": [without_password(url) for url in entry.urls],
        "file": entry.file,
        "size": entry.size,
        "sha256": entry.sha256,
    }
    table = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items() if value)
    before = path.read_text("utf-8") if path.exists() else ""
    write_atomically(path, f'{before.rstrip()}\n\n["{entry.name}"]\n{table}'.lstrip())


def check_url(url: str) -> None:
    """Refuse, by a ``ValueError``, all but https, and http on loopback, where nobody can listen in."""
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or is_loopback(url)):
        raise ValueError(f"{without_password(url)}: only https is allowed")


def is_loopback(url: str) -> bool:
    """Whether the URL is plain http to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def without_password(url: str) -> str:
    """The URL without user and password, to be printed."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _read_tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables: dict[str, Any] = parse_toml(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise WeightsError(f"{path}: {name!r} is outside any [name] table")
    return tables


def _entry(name: str, table: Mapping[str, Any], path: Path) -> Entry:
    types = {"urls": list, "tags": list, "size": int, "scale": int}
    known = {field.name for field in fields(Entry)} - {"name", "path"}
    try:
        for key, value in table.items():
            if key not in known:
                raise ValueError(f"unknown key {key!r}; known: {', '.join(sorted(known))}")
            if not isinstance(value, types.get(key, str)):
                raise ValueError(f"{key} = {value!r} has the wrong type")
        if "kind" not in table:
            raise ValueError("kind is missing")
        urls = tuple(table.get("urls", ()))
        if not all(isinstance(url, str) for url in urls):
            raise ValueError(f"urls = {list(urls)!r} has the wrong type")
        file = table.get("file") or (unquote(urlsplit(urls[0]).path.rpartition("/")[2]) if urls else "")
        if not file:
            raise ValueError("needs urls or file")
        sha256 = table["sha256"].lower() if "sha256" in table else None
        tags = tuple(map(str, table.get("tags", ())))
        return Entry(**{**table, "name": name, "urls": urls, "tags": tags, "file": file, "sha256": sha256})
    except ValueError as error:
        raise WeightsError(f"{path}: [{name}]: {error}") from error


def _describe(path: Path) -> Entry:
    """The entry of a file that no registry names, from what the file says of itself."""
    header: dict[str, Any] = {}
    with suppress(WeightsError):  # a damaged file is an entry too; `state` reports the damage
        header = read_metadata(path)
    with path.open("rb") as file:
        is_vgg = bool(_VGG_KEY.search(file.read(1 << 20)))  # names precede tensors in all formats
    architecture = header.get("architecture")
    scale = header.get("scale", architecture.get("scale") if isinstance(architecture, dict) else None)
    return Entry(
        name=path.stem,
        kind="loss network" if is_vgg else "upscaler",
        file=path.name,
        size=path.stat().st_size or None,
        scale=scale if isinstance(scale, int) else None,
        license=str(header.get("license", header.get("licence", ""))),  # files of earlier versions say "licence"
        note=str(header.get("note", "")),
    )
