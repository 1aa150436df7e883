"""Finding the image files in a folder, and those that belong together by their names."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

from sr_cli.errors import ImageError, NoImagesError
from sr_cli.images.formats import SUFFIXES

_MARK = re.compile(r"(?:[._ -](?:x\d{1,2}|\d{1,2}x|sr|lr|hr|out|srf[_-]?\d)|x\d)+$", re.IGNORECASE)
"""What tools append to a name: ``baby_4x``, ``0801x4``, ``img_001_SRF_4_LR``, ``photo.sr``."""

_WORD = re.compile(r"[._ -][a-z]", re.IGNORECASE)  # a number would be that of another picture


def find_images(
    path: Path,
    *,
    recursive: bool = False,
    on_unreadable: Callable[[ImageError], None] | None = None,
    on_other: Callable[[Path], None] = lambda _: None,
) -> list[Path]:
    """Find the files in a folder that have an image format's suffix, sorted by path.

    Symbolic links to files count; those to folders are not followed, which also avoids loops. Hidden files and folders,
    whose names begin with a dot, are skipped.

    Args:
        on_unreadable: called with the error for each unreadable subfolder, in place of raising it.
        on_other: called with each file that isn't hidden and has another suffix.

    Raises:
        ImageError: the folder is missing, it or a subfolder is unreadable, or there is no image.
    """

    def on_error(error: OSError) -> None:
        unreadable = ImageError(f"{error.filename}: cannot be read ({error.strerror})")
        if on_unreadable is None or Path(error.filename) == path:
            raise unreadable from error
        on_unreadable(unreadable)

    try:
        if not path.is_dir():
            reason = "is not a folder" if os.path.lexists(path) else "no such folder"
            raise ImageError(f"{path}: {reason}")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    found = []
    for folder, subfolders, names in os.walk(path, onerror=on_error):
        subfolders[:] = [name for name in subfolders if recursive and not name.startswith(".")]
        for name in names:
            file = Path(folder, name)
            if name.startswith("."):
                continue
            if file.suffix.lower() not in SUFFIXES:
                on_other(file)
            elif not file.is_fifo():  # reading a named pipe would block
                found.append(file)
    if not found:
        raise NoImagesError(f"{path}: no images in this folder" + ("" if recursive else " (subfolders not searched)"))
    return sorted(found)


class NamedImages:
    """The pictures of a folder, or one file, by names below it without suffix; an `ImageError` if there are none.

    Args:
        recursive: include subfolders, which are part of the names.
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
