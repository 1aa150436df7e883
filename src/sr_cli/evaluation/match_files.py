"""Match files by name: an HR picture, its LR, and what other tools made of that LR."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sr_cli.evaluation.result import Failure, NothingMeasuredError
from sr_cli.images import find_images

_MARK = re.compile(r"(?:[._ -](?:x\d{1,2}|\d{1,2}x|sr|lr|hr|out|srf[_-]?\d)|x\d)+$", re.IGNORECASE)
"""What tools append to a name: ``baby_4x``, ``0801x4``, ``img_001_SRF_4_LR``, ``photo.sr``."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of one picture: ``sr`` by the name of its row; ``lr`` is ``None`` if it is made from HR."""

    name: str
    hr: Path
    lr: Path | None
    sr: Mapping[str, Path]


def match(hr: Path, *, lr: Path | None, sr: Mapping[str, Path], recursive: bool) -> tuple[list[Files], list[Failure]]:
    """Match pictures by their names without suffix, else without what tools append to names as well.

    Args:
        hr: folder of HR pictures, or one file.
        lr: the same for LR pictures.
        sr: the same for SR pictures.
        recursive: include subfolders, whose names have to match, too.

    Returns:
        The matched files, and every file that has no partner or several.

    Raises:
        ImageError: a folder is missing or empty.
        NothingMeasuredError: nothing matches.
    """
    failures: list[Failure] = []
    originals, duplicates = _unique(_keys(hr, recursive))
    failures += [Failure(file=str(path), reason="another HR picture has the same name") for path in duplicates]
    folders = {name: _Index(folder, recursive) for name, folder in {**({"": lr} if lr else {}), **sr}.items()}
    matched = []
    for name, path in originals.items():
        partners: dict[str, Path] = {}
        for row, index in folders.items():
            found = index.take(name)
            if len(found) == 1:
                partners[row] = found[0]
                continue
            several = ", ".join(each.name for each in found)
            problem = f"has several partners in {index.folder}: {several}"
            failures.append(Failure(file=str(path), reason=problem if found else f"has no partner in {index.folder}"))
        if len(partners) == len(folders):
            matched.append(Files(name=name, hr=path, lr=partners.pop("", None), sr=partners))
    for index in folders.values():
        failures += [Failure(file=str(path), reason=f"has no partner in {hr}") for path in index.unmatched()]
    if not matched:
        raise NothingMeasuredError(failures, f"of {len(failures)} files none could be matched")
    return matched, failures


class _Index:
    """The pictures of a folder, by the name of the HR picture."""

    def __init__(self, folder: Path, recursive: bool) -> None:
        self.folder = folder
        self._exact, self._bare = defaultdict(list), defaultdict(list)
        for key, path in _keys(folder, recursive):
            self._exact[key].append(path)
            self._bare[_bare(key)].append(path)
        self._taken: set[Path] = set()

    def take(self, name: str) -> Sequence[Path]:
        found = self._exact.get(name) or self._bare.get(_bare(name), [])
        self._taken.update(found)
        return found

    def unmatched(self) -> list[Path]:
        return sorted(path for paths in self._exact.values() for path in paths if path not in self._taken)


def _keys(folder: Path, recursive: bool) -> list[tuple[str, Path]]:
    if folder.is_file():
        return [(folder.stem, folder)]
    paths = find_images(folder, recursive=recursive)
    return [(path.relative_to(folder).with_suffix("").as_posix(), path) for path in paths]


def _bare(name: str) -> str:
    return _MARK.sub("", name).lower()


def _unique(keys: Sequence[tuple[str, Path]]) -> tuple[dict[str, Path], list[Path]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for key, path in keys:
        groups[key].append(path)
    unique = {key: paths[0] for key, paths in groups.items() if len(paths) == 1}
    return unique, [path for paths in groups.values() if len(paths) > 1 for path in paths]
