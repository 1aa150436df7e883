"""The photos of a training: found by their headers, decoded when needed."""

import hashlib
import mmap
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr_cli import images
from sr_cli.errors import ImageError
from sr_cli.images.find import NamedImages, name_below
from sr_cli.images.header import read_header

_READERS = 8  # threads that read headers: on a network disk each file takes a while


@dataclass(frozen=True)
class Header:
    """A photo's width and height in pixels and the size of its file in bytes."""

    width: int
    height: int
    file_size: int


class PixelCache:
    """Keeps decoded photos up to a budget, in memory that forked processes share.

    Every photo that fits has a fixed place, so there is no lock: two processes that decode the same photo at the same
    time write the same bytes to the same place. Memory is only used once it is written to.

    Args:
        sizes: bytes of each decoded photo; the first ones that fit are kept.
        budget: bytes.
    """

    def __init__(self, sizes: Sequence[int], budget: int) -> None:
        self._places: dict[int, int] = {}
        self.bytes = 0
        for index, size in enumerate(sizes):
            if self.bytes + size <= budget:
                self._places[index] = self.bytes
                self.bytes += size
        self._memory = mmap.mmap(-1, max(1, self.bytes))
        self._shapes = np.frombuffer(mmap.mmap(-1, 8 * max(1, len(sizes))), np.int64)

    def __len__(self) -> int:
        """The number of photos that fit."""
        return len(self._places)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """``(H, W, 3)`` of a photo, without a copy; ``None`` if it hasn't been put in."""
        height, width = divmod(int(self._shapes[index]), 1 << 32)
        return self._view(index, height, width) if height else None

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Keep ``(H, W, 3)``, if the photo has a place."""
        height, width, _ = pixels.shape
        if index in self._places:
            self._view(index, height, width)[:] = pixels
            # After the pixels: a process that sees the shape sees them too.
            self._shapes[index] = (height << 32) + width

    def _view(self, index: int, height: int, width: int) -> NDArray[np.uint8]:
        flat = np.frombuffer(self._memory, np.uint8, count=height * width * 3, offset=self._places[index])
        return flat.reshape(height, width, 3)


@dataclass
class Photos:
    """The HR photos in a folder and its subfolders: decoded when needed, then kept in memory up to a budget.

    Attributes:
        skipped: the other files, each with the reason.
        cache_bytes: the budget; photos that don't fit are decoded every time.
        lr: for each photo the files of its LR, if LR is given.
    """

    folder: Path
    paths: list[Path]
    headers: list[Header]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    cache_bytes: int = 0
    lr: list[list[Path]] = field(default_factory=list)
    lr_folders: Sequence[Path] = ()
    scale: int = 1
    _damaged: dict[int, str] = field(default_factory=dict, repr=False)

    @classmethod
    def below(
        cls, folder: Path, *, min_side: int, cache_bytes: int, lr_folders: Sequence[Path] = (), scale: int = 1
    ) -> "Photos":
        """Find the photos below ``folder``; those that are unreadable, or have a side below ``min_side``, are skipped.

        Args:
            lr_folders: folders of their LR, with the same names but for what tools append; photos without LR of the
                right size in any of them are skipped.
            scale: HR over LR; up to ``scale`` − 1 pixels at the right and the bottom of HR are ignored.

        Raises:
            ImageError: a folder is missing, or there is no usable photo.
        """
        found = images.find_images(folder, recursive=True)
        with ThreadPoolExecutor(_READERS) as readers:
            read = list(readers.map(lambda path: _header(path, min_side), found))
        skipped = [(path, header) for path, header in zip(found, read, strict=True) if isinstance(header, str)]
        usable = [(path, header) for path, header in zip(found, read, strict=True) if isinstance(header, Header)]
        lr: list[list[Path]] = []
        if lr_folders:
            partners, unfit = _find_lr(folder, usable, lr_folders, scale)
            skipped += unfit
            usable = [(path, header) for path, header in usable if path in partners]
            lr = [partners[path] for path, _ in usable]
        if not usable:
            reason = f"; the first of {len(skipped)} skipped: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise ImageError(f"{folder}: no photo to train on{reason}")
        paths, headers = [path for path, _ in usable], [header for _, header in usable]
        return cls(folder, paths, headers, skipped, cache_bytes, lr, lr_folders, scale)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def cache(self) -> PixelCache:
        sizes = [3 * header.width * header.height for header in self.headers]
        reduced = [3 * (header.width // self.scale) * (header.height // self.scale) for header in self.headers]
        return PixelCache([*sizes, *(reduced[i] for i, files in enumerate(self.lr) for _ in files)], self.cache_bytes)

    @cached_property
    def _lr_places(self) -> list[int]:
        """Where the LR of each photo begins in the cache."""
        return list(accumulate(map(len, self.lr), initial=len(self)))

    @property
    def fingerprint(self) -> str:
        """A hash of the photos' names in the folder and their sizes in pixels and bytes."""
        digest = hashlib.sha256()
        for path, header in zip(self.paths, self.headers, strict=True):
            name = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name
            digest.update(f"{name}\0{header}\n".encode("utf-8", "surrogateescape"))
        for path in (path for files in self.lr for path in files):
            digest.update(f"{path.name}\0{path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """``(H, W, 3)`` of photo ``index``; an `ImageError` if the file is gone or damaged."""
        header = self.headers[index]
        return self._decoded(self.paths[index], index, place=index, size=3 * header.width * header.height)

    def lr_pixels(self, index: int, which: int) -> NDArray[np.uint8]:
        """``(H // scale, W // scale, 3)`` of an LR of a photo; an `ImageError` if it is gone, damaged or unfit."""
        height, width = (length // self.scale for length in self.pixels(index).shape[:2])
        path = self.lr[index][which]
        pixels = self._decoded(path, index, place=self._lr_places[index] + which, size=3 * height * width)
        if pixels.shape[:2] != (height, width):
            self._damaged[index] = f"{path}: {pixels.shape[1]}×{pixels.shape[0]} is not {width}×{height}"
            raise ImageError(self._damaged[index])
        return pixels

    def _decoded(self, path: Path, index: int, *, place: int, size: int) -> NDArray[np.uint8]:
        if index in self._damaged:
            raise ImageError(self._damaged[index])
        kept = self.cache.get(place)
        if kept is not None:
            return kept
        try:
            pixels = images.read_rgb(path)
        except ImageError as error:
            if path.is_file():
                self._damaged[index] = str(error)
            raise
        if pixels.nbytes == size:
            self.cache.put(place, pixels)
        return pixels

    def is_damaged(self, index: int) -> bool:
        """Whether the file is there but cannot be decoded."""
        return index in self._damaged

    def split(self, held_out: int, *, seed: int) -> tuple["Photos", "Photos"]:
        """Split into photos to train on and ``held_out`` others, at random; an `ImageError` if none would be left."""
        if held_out >= len(self):
            raise ImageError(f"{len(self)} photos are too few to hold out {held_out} for validation")
        chosen = set(np.random.default_rng(seed).permutation(len(self))[:held_out].tolist())
        return self._select(i for i in range(len(self)) if i not in chosen), self._select(sorted(chosen))

    def _select(self, indices: Iterable[int]) -> "Photos":
        chosen = list(indices)
        paths, headers = [self.paths[i] for i in chosen], [self.headers[i] for i in chosen]
        lr = [self.lr[i] for i in chosen] if self.lr else []
        return Photos(self.folder, paths, headers, [], self.cache_bytes, lr, self.lr_folders, self.scale)


def _header(path: Path, min_side: int) -> Header | str:
    """The header of a photo, or the reason why it cannot be used."""
    try:
        found = read_header(path, upright=False)
        header = Header(found.width, found.height, path.stat().st_size)
    except (OSError, ImageError) as error:
        return str(error).removeprefix(f"{path}: ")
    if min(found.width, found.height) < min_side:
        return f"{found.width}×{found.height} is smaller than the patch of {min_side}×{min_side}"
    return header


def _find_lr(
    folder: Path, photos: Sequence[tuple[Path, Header]], lr_folders: Sequence[Path], scale: int
) -> tuple[dict[Path, list[Path]], list[tuple[Path, str]]]:
    """The LR files of each photo that has some, and the files that cannot be used, each with the reason."""
    found: dict[Path, list[Path]] = {}
    unfit: list[tuple[Path, str]] = []
    for lr_folder in lr_folders:
        named = NamedImages(lr_folder, recursive=True)
        for path, header in photos:
            partners = named.partners(name_below(path, folder))
            if len(partners) > 1:
                unfit.append((path, f"has several partners in {lr_folder}: {', '.join(p.name for p in partners)}"))
            if len(partners) != 1:
                continue
            (partner,) = partners
            lr = _header(partner, 1)
            if isinstance(lr, str):
                unfit.append((partner, lr))
            elif (lr.width, lr.height) != (header.width // scale, header.height // scale):
                hr_size, lr_size = (f"{each.width}×{each.height}" for each in (header, lr))
                unfit.append((partner, f"its {lr_size} pixels times {scale} are not the {hr_size} of {path}"))
            else:
                found.setdefault(path, []).append(partner)
    unfit += [(path, "has no usable LR") for path, _ in photos if path not in found]
    return found, unfit
