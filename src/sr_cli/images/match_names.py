"""Pictures that belong together by their names."""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from sr_cli.images.find import find_images

_MARK = re.compile(r"(?:[._ -](?:x\d{1,2}|\d{1,2}x|sr|lr|hr|out|srf[_-]?\d)|x\d)+$", re.IGNORECASE)
"""What tools append to a name: ``baby_4x``, ``0801x4``, ``img_001_SRF_4_LR``, ``photo.sr``."""

_WORD = re.compile(r"[._ -][a-z]", re.IGNORECASE)  # a number would be that of another picture


class NamedImages:
    """The pictures of a folder, or one file, by their names below it without suffix.

    Args:
        folder: the folder, or the file.
        recursive: include subfolders, which are part of the names.

    Raises:
        ImageError: the folder is missing or empty.
    """

    def __init__(self, folder: Path, *, recursive: bool) -> None:
        self.paths: dict[str, list[Path]] = defaultdict(list)
        self._bare: dict[str, list[Path]] = defaultdict(list)
        for path in [folder] if folder.is_file() else find_images(folder, recursive=recursive):
            name = name_below(path, folder)
            self.paths[name].append(path)
            self._bare[_bare(name)].append(path)

    def partners(self, name: str) -> list[Path]:
        """The pictures of that name, or else those that differ from it only by what tools append."""
        return self.paths.get(name) or self._bare.get(_bare(name), [])

    def by_longest(self, names: Collection[str]) -> dict[str, list[Path]]:
        """The pictures whose name is one of ``names`` and then words, by the longest such name: ``baby_SwinIR``."""
        found: dict[str, list[Path]] = defaultdict(list)
        for own, paths in self.paths.items():
            ends = [end for end in range(len(own), 0, -1) if own[:end] in names]
            name = next((own[:end] for end in ends if end == len(own) or _WORD.match(own, end)), own)
            if name != own:
                found[name] += paths
        return found


def name_below(path: Path, folder: Path) -> str:
    """The name of a picture below a folder, or of the file that stands for one, without suffix."""
    return path.stem if path == folder else path.relative_to(folder).with_suffix("").as_posix()


def _bare(name: str) -> str:
    return _MARK.sub("", name).lower()
