"""The photos of a training: found by their headers, decoded when needed."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sr_cli import images
from sr_cli.data.cache import PixelCache
from sr_cli.errors import ImageError

_READERS = 8  # threads that read headers: on a network disk each file takes a while


@dataclass(frozen=True)
class Header:
    """A photo's width and height in pixels and the size of its file in bytes."""

    width: int
    height: int
    file_size: int


@dataclass
class Photos:
    """The HR photos in a folder and its subfolders: decoded when needed, then kept in memory up to a budget.

    Attributes:
        folder: the folder.
        paths: the usable files, sorted.
        headers: their headers.
        skipped: the other files, each with the reason.
        cache_bytes: the budget; photos that don't fit are decoded every time.
    """

    folder: Path
    paths: list[Path]
    headers: list[Header]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    cache_bytes: int = 0
    _damaged: dict[int, str] = field(default_factory=dict, repr=False)

    @classmethod
    def below(cls, folder: Path, *, min_side: int, cache_bytes: int) -> "Photos":
        """Find the photos below ``folder``; those that are unreadable, or have a side below ``min_side``, are skipped.

        Raises:
            ImageError: the folder is missing or has no usable photo.
        """
        found = images.find_images(folder, recursive=True)
        with ThreadPoolExecutor(_READERS) as readers:
            read = list(readers.map(lambda path: _header(path, min_side), found))
        skipped = [(path, header) for path, header in zip(found, read, strict=True) if isinstance(header, str)]
        usable = [(path, header) for path, header in zip(found, read, strict=True) if isinstance(header, Header)]
        if not usable:
            reason = f"; the first of {len(skipped)} skipped: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise ImageError(f"{folder}: no photo to train on{reason}")
        return cls(folder, [path for path, _ in usable], [header for _, header in usable], skipped, cache_bytes)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def cache(self) -> PixelCache:
        return PixelCache([3 * header.width * header.height for header in self.headers], self.cache_bytes)

    @property
    def fingerprint(self) -> str:
        """A hash of the photos' names in the folder and their sizes in pixels and bytes."""
        digest = hashlib.sha256()
        for path, header in zip(self.paths, self.headers, strict=True):
            name = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name
            digest.update(f"{name}\0{header}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """``(H, W, 3)`` of photo ``index``.

        Raises:
            ImageError: the file is gone or damaged.
        """
        if index in self._damaged:
            raise ImageError(self._damaged[index])
        kept = self.cache.get(index)
        if kept is not None:
            return kept
        path = self.paths[index]
        try:
            pixels = images.read_rgb(path)
        except ImageError as error:
            if path.is_file():
                self._damaged[index] = str(error)
            raise
        if pixels.nbytes == 3 * self.headers[index].width * self.headers[index].height:
            self.cache.put(index, pixels)
        return pixels

    def is_damaged(self, index: int) -> bool:
        """Whether the file is there but cannot be decoded."""
        return index in self._damaged

    def split(self, held_out: int, *, seed: int) -> tuple["Photos", "Photos"]:
        """Split into photos to train on and ``held_out`` photos to validate on, at random.

        Raises:
            ImageError: nothing would be left to train on.
        """
        if held_out >= len(self):
            raise ImageError(f"{len(self)} photos are too few to hold out {held_out} for validation")
        chosen = set(np.random.default_rng(seed).permutation(len(self))[:held_out].tolist())
        return self._select(i for i in range(len(self)) if i not in chosen), self._select(sorted(chosen))

    def _select(self, indices: Iterable[int]) -> "Photos":
        chosen = list(indices)
        paths, headers = [self.paths[i] for i in chosen], [self.headers[i] for i in chosen]
        return Photos(self.folder, paths, headers, cache_bytes=self.cache_bytes)


def _header(path: Path, min_side: int) -> Header | str:
    """The header of a photo, or the reason why it cannot be used."""
    try:
        with Image.open(path) as image:
            width, height = image.size
        header = Header(width, height, path.stat().st_size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be read ({error})"
    if min(width, height) < min_side:
        return f"{width}×{height} is smaller than the patch of {min_side}×{min_side}"
    return header
