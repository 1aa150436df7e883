"""The photos below a folder: found by their headers, decoded when first needed."""

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

_READERS = 8  # threads that read headers: on a disk across a network each file means waiting


@dataclass(frozen=True)
class Header:
    """What is known of a photo before it is decoded: width and height in pixels, size of the file in bytes."""

    width: int
    height: int
    file_size: int


@dataclass
class Photos:
    """The HR photos below a folder: decoded when first needed, then kept in memory as far as the budget goes.

    Attributes:
        folder: where they are.
        paths: the files that can be used, sorted.
        headers: what is known of each of them.
        skipped: the files that can't, each with the reason.
        cache_bytes: the budget; what doesn't fit is decoded again each time.
    """

    folder: Path
    paths: list[Path]
    headers: list[Header]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    cache_bytes: int = 0
    _damaged: dict[int, str] = field(default_factory=dict, repr=False)

    @classmethod
    def below(cls, folder: Path, *, min_side: int, cache_bytes: int) -> "Photos":
        """Find the photos below ``folder``, by their headers; what is unreadable or too small is skipped.

        Raises:
            ImageError: the folder is missing, or no photo in it can be used.
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
        """Tells whether two folders hold the same photos, wherever they are: names, sizes in pixels and in bytes."""
        digest = hashlib.sha256()
        for path, header in zip(self.paths, self.headers, strict=True):
            name = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name
            digest.update(f"{name}\0{header}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """``(H, W, 3)`` of photo ``index``.

        Raises:
            ImageError: the file is gone, or damaged behind its header.
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
        """Whether `pixels` failed though the file is there: it will fail again."""
        return index in self._damaged

    def split(self, held_out: int, *, seed: int) -> tuple["Photos", "Photos"]:
        """Part into photos to train on and ``held_out`` ones to validate on, by ``seed``.

        Raises:
            ImageError: nothing would be left to train on.
        """
        if held_out >= len(self):
            raise ImageError(f"{len(self)} photos are too few to hold {held_out} out for validation")
        chosen = set(np.random.default_rng(seed).permutation(len(self))[:held_out].tolist())
        return self._part(i for i in range(len(self)) if i not in chosen), self._part(sorted(chosen))

    def _part(self, indices: Iterable[int]) -> "Photos":
        chosen = list(indices)
        paths, headers = [self.paths[i] for i in chosen], [self.headers[i] for i in chosen]
        return Photos(self.folder, paths, headers, cache_bytes=self.cache_bytes)


def _header(path: Path, min_side: int) -> Header | str:
    """The header of a photo, or why it cannot be used."""
    try:
        with Image.open(path) as image:
            width, height = image.size
        header = Header(width, height, path.stat().st_size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be read ({error})"
    if min(width, height) < min_side:
        return f"{width}×{height} is smaller than the patch of {min_side}×{min_side}"
    return header
