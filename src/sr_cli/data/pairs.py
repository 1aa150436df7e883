"""Training and validation pairs: an HR patch and its LR."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from sr_cli.config import TrainConfig, TrainDegradation
from sr_cli.data.degradation import degrade, quantize
from sr_cli.data.photos import Photos
from sr_cli.degradation_table import RealDegradation
from sr_cli.errors import ImageError

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """An HR patch and its LR.

    Attributes:
        hr: ``(3, H, W)`` in [0, 1].
        lr: ``(3, H / scale, W / scale)`` in [0, 1].
        damaged: photos in whose place it came, as they could not be decoded, each with the reason.
        steps: what a real degradation did to it.
    """

    hr: Tensor
    lr: Tensor
    path: Path
    damaged: tuple[tuple[Path, str], ...] = ()
    steps: tuple[str, ...] = ()


class TrainingPairs(Dataset[Pair]):
    """An endless sequence of training pairs; pair ``i`` is a function of the photos, the seed and ``i`` alone.

    So any number of workers or processes can start anywhere in it. Every epoch takes one patch from each photo, in a
    new order. A damaged photo is replaced by the next one in that order.

    Args:
        crop_size: side of the HR patches, in pixels.
        degradation: how LR is made, or ``given``: one of the LR files of each photo is drawn.
        min_downscale: half of the patches come from a region that is downscaled by a random factor, this one or more.
        real: what degradation ``real`` draws from.
    """

    def __init__(
        self,
        photos: Photos,
        *,
        scale: int,
        crop_size: int,
        degradation: TrainDegradation,
        min_downscale: float = 1.0,
        seed: int = 0,
        real: RealDegradation | None = None,
    ) -> None:
        self.photos, self.scale, self.crop_size = photos, scale, crop_size
        self.degradation, self.min_downscale, self.seed, self.real = degradation, min_downscale, seed, real
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __getitem__(self, index: int) -> Pair:
        if self.degradation == "given":
            return self._given(index)
        photo, pixels, damaged = self._decoded(index, self.photos.pixels)
        rng = np.random.default_rng((self.seed, 1, index))
        side = self.crop_size  # of the region that becomes a patch
        if self.min_downscale < 1 and rng.random() >= 0.5:
            side = min(round(side / float(rng.uniform(self.min_downscale, 1))), *pixels.shape[:2])
        patch = augment(downscale(crop_patch(pixels, side, rng), self.crop_size), rng)
        hr = _tensor(patch)[None]
        steps: list[str] = []
        lr = quantize(degrade(hr, self.scale, kind=self.degradation, rng=rng, real=self.real, log=steps))
        return Pair(hr[0], lr[0], self.photos.paths[photo], damaged, tuple(steps))

    def _given(self, index: int) -> Pair:
        """The same region of a photo and of one of its LR files."""
        rng = np.random.default_rng((self.seed, 1, index))
        which = rng.random()

        def load(photo: int) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
            chosen = int(which * len(self.photos.lr[photo]))
            return chosen, self.photos.pixels(photo), self.photos.lr_pixels(photo, chosen)

        photo, (chosen, hr, lr), damaged = self._decoded(index, load)
        side = self.crop_size // self.scale
        top, left = (int(rng.integers(length - side + 1)) for length in lr.shape[:2])
        turns, flips = int(rng.integers(4)), int(rng.integers(2))
        small, large = (
            _tensor(_turned(_region(pixels, top * scale, left * scale, side * scale, side * scale), turns, flips))
            for pixels, scale in ((lr, 1), (hr, self.scale))
        )
        return Pair(large, small, self.photos.paths[photo], damaged, (str(self.photos.lr[photo][chosen]),))

    def lr_only(self, index: int) -> Pair:
        """A patch of a photo at its own resolution as LR, in place of pair ``index``; HR is empty."""
        photo, pixels, damaged = self._decoded(index, self.photos.pixels)
        rng = np.random.default_rng((self.seed, 2, index))
        patch = augment(crop_patch(pixels, self.crop_size // self.scale, rng), rng)
        return Pair(torch.empty(0), _tensor(patch), self.photos.paths[photo], damaged)

    def _decoded(self, index: int, load: Callable[[int], T]) -> tuple[int, T, tuple[tuple[Path, str], ...]]:
        """The photo of pair ``index``, or the first one after it that can be loaded; what it is, and the damaged ones.

        Raises:
            ImageError: a photo has vanished, or all of them are damaged.
        """
        epoch, position = divmod(index, len(self.photos))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.photos))
        damaged: list[tuple[Path, str]] = []
        for ahead in range(len(self.photos)):
            photo = int(self._order[1][(position + ahead) % len(self.photos)])
            try:
                return photo, load(photo), tuple(damaged)
            except ImageError as error:
                if not self.photos.is_damaged(photo):
                    raise ImageError(f"{error}; it existed when the training began") from error
                damaged.append((self.photos.paths[photo], str(error)))
        raise ImageError(f"{self.photos.folder}: none of {len(self.photos)} photos can be decoded")


def crop_patch(pixels: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut a ``(size, size, 3)`` patch out of ``(H, W, 3)`` at a random place."""
    height, width = pixels.shape[:2]
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return pixels[top : top + size, left : left + size]


def downscale(patch: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a square patch to ``(size, size, 3)``: bicubic, antialiased."""
    if len(patch) == size:
        return patch
    return np.array(Image.fromarray(patch).resize((size, size), Image.Resampling.BICUBIC))


def augment(patch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply one of the 8 flips and rotations to a square patch."""
    return _turned(patch, int(rng.integers(4)), int(rng.integers(2)))


def _turned(patch: NDArray[np.uint8], turns: int, flips: int) -> NDArray[np.uint8]:
    patch = np.rot90(patch, turns)
    return patch[:, ::-1] if flips else patch


def _region(pixels: NDArray[np.uint8], top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    return pixels[top : top + height, left : left + width]


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """``(H, W, 3)`` → ``(3, H, W)`` in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def validation_pairs(
    photos: Photos,
    *,
    scale: int,
    degradation: TrainDegradation,
    side: int = TrainConfig.validation_side,
    real: RealDegradation | None = None,
) -> Iterator[Pair]:
    """The center of each photo, at most ``side`` HR pixels wide and high, and its LR; always the same ones.

    Photos that cannot be decoded are left out.
    """
    for index, path in enumerate(photos.paths):
        which = index % len(photos.lr[index]) if degradation == "given" else 0
        try:
            pixels = photos.pixels(index)
            small = photos.lr_pixels(index, which) if degradation == "given" else None
        except ImageError:
            if not photos.is_damaged(index):
                raise
            continue
        height, width = (min(side, length) // scale * scale for length in pixels.shape[:2])
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        if small is not None:
            top, left = top // scale * scale, left // scale * scale
            lr = _tensor(_region(small, top // scale, left // scale, height // scale, width // scale))
        hr = _tensor(_region(pixels, top, left, height, width))
        if degradation != "given":
            rng = np.random.default_rng(index)
            lr = quantize(degrade(hr[None], scale, kind=degradation, rng=rng, real=real))[0]
        yield Pair(hr, lr, path)
