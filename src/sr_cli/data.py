"""Training pairs: photos found, decoded once and kept; HR patches cropped; LR made from them by a degradation."""

import io
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from sr_cli import images
from sr_cli.config import Crop, Degradation
from sr_cli.errors import ImageError
from sr_cli.resize import resize


def degrade(
    hr: Tensor, scale: int, *, kind: Degradation = "paper", sigma: float = 1.0, rng: np.random.Generator | None = None
) -> Tensor:
    """Make the LR image that belongs to an HR image.

    Args:
        hr: ``(N, 3, H, W)`` in [0, 1]; H and W are multiples of ``scale``.
        kind: ``bicubic`` downsamples as MATLAB's ``imresize``, as the literature's benchmarks do; ``paper`` blurs by a
            Gaussian first; ``photo`` blurs, downsamples by a random kernel, adds noise and compresses as JPEG, all by
            random amounts, the same for the N images.
        sigma: standard deviation of the ``paper`` blur, in HR pixels.
        rng: where ``photo`` takes its random numbers from; a fixed one by default.

    Returns:
        ``(N, 3, H / scale, W / scale)`` in [0, 1], rounded to 8 bit but for ``paper``.

    Raises:
        ValueError: H or W is not a multiple of ``scale``.

    Source: Johnson et al. 2016, section 4.2, for ``paper``; Real-ESRGAN (arXiv 2107.10833), section 3, for the idea of
    ``photo``.
    """
    height, width = hr.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{width}×{height} is not a multiple of scale {scale}")
    size = (height // scale, width // scale)
    if kind == "photo":
        return _photograph(hr, size, rng or np.random.default_rng(0))
    if kind == "paper":
        return resize(gaussian_blur(hr, sigma), size).clamp(0, 1)
    # As MATLAB does with 8-bit images: rows first, rounded to 8 bit, then columns.
    return quantize(resize(quantize(resize(hr, (size[0], width))), size))


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian cut at 4 σ, edge pixels repeated.

    Args:
        image: ``(N, C, H, W)``.
        sigma: standard deviation, in pixels; 0 leaves the image as it is.
    """
    if sigma == 0:
        return image
    radius = max(1, round(4 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    taps = torch.softmax(-(offsets**2) / (2 * sigma**2), dim=0)
    channels = image.shape[1]
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def quantize(image: Tensor) -> Tensor:
    """Round ``image`` in [0, 1] to the 256 values that an 8-bit file can hold."""
    return (image.clamp(0, 1) * 255).round() / 255


def _photograph(hr: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """What a camera, a resize on the web and a JPEG file do to an image."""
    blurred = gaussian_blur(hr, rng.uniform(0.0, 1.6))
    lr = resize(blurred, size, kernel=rng.choice(["bicubic", "bicubic", "bilinear"]))
    noise = torch.from_numpy(rng.standard_normal(lr.shape, dtype=np.float32)).to(lr)
    lr = (lr + noise * (rng.uniform(0, 6 / 255) if rng.random() < 0.5 else 0)).clamp(0, 1)
    if rng.random() < 0.1:
        return quantize(lr)
    quality, subsampling = int(rng.integers(45, 96)), int(rng.choice([0, 2]))
    return torch.stack([_compress(image, quality=quality, subsampling=subsampling) for image in lr])


def _compress(image: Tensor, *, quality: int, subsampling: int) -> Tensor:
    """``(3, H, W)`` through a JPEG file and back."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
        decoded = np.array(Image.open(file))
    return torch.from_numpy(decoded).permute(2, 0, 1).to(image) / 255


@dataclass
class Photos:
    """The HR photos below a folder: decoded when first needed, then kept in memory as far as the budget goes.

    Attributes:
        paths: the files that can be used, sorted.
        skipped: the files that can't, each with the reason.
        cache_bytes: the budget; what doesn't fit is decoded again each time.
    """

    paths: list[Path]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    cache_bytes: int = 0
    _cache: OrderedDict[Path, NDArray[np.uint8]] = field(default_factory=OrderedDict, repr=False)
    _cached_bytes: int = 0

    @classmethod
    def below(cls, folder: Path, *, min_side: int, cache_bytes: int) -> "Photos":
        """Find the photos below ``folder``, by their headers; what is unreadable or too small is skipped.

        Raises:
            ImageError: the folder is missing, or no photo in it can be used.
        """
        usable, skipped = [], []
        for path in images.find_images(folder, recursive=True):
            try:
                with Image.open(path) as image:
                    width, height = image.size
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                skipped.append((path, f"cannot be read ({error})"))
                continue
            if min(width, height) < min_side:
                skipped.append((path, f"{width}×{height} is smaller than the patch of {min_side}×{min_side}"))
            else:
                usable.append(path)
        if not usable:
            reason = f"; the first of {len(skipped)} skipped: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise ImageError(f"{folder}: no photo to train on{reason}")
        return cls(usable, skipped, cache_bytes)

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """``(H, W, 3)`` of photo ``index``.

        Raises:
            ImageError: the file is gone, or damaged behind its header.
        """
        path = self.paths[index]
        if path not in self._cache:
            decoded = images.read_rgb(path)
            if self._cached_bytes + decoded.nbytes > self.cache_bytes:
                return decoded
            self._cache[path] = decoded
            self._cached_bytes += decoded.nbytes
        return self._cache[path]

    def split(self, held_out: int, *, seed: int) -> tuple["Photos", "Photos"]:
        """Part into photos to train on and ``held_out`` ones to validate on, by ``seed``.

        Raises:
            ImageError: nothing would be left to train on.
        """
        if held_out >= len(self):
            raise ImageError(f"{len(self)} photos are too few to hold {held_out} out for validation")
        chosen = set(np.random.default_rng(seed).permutation(len(self))[:held_out].tolist())
        train = [path for i, path in enumerate(self.paths) if i not in chosen]
        validation = [path for i, path in enumerate(self.paths) if i in chosen]
        return Photos(train, self.skipped, self.cache_bytes), Photos(validation, [], self.cache_bytes)


@dataclass(frozen=True)
class Pair:
    """An HR patch and its LR: ``(3, H, W)`` and ``(3, H / scale, W / scale)`` in [0, 1], and the photo's path."""

    hr: Tensor
    lr: Tensor
    path: Path


class TrainingPairs(Dataset[Pair]):
    """An endless sequence of training pairs; pair ``i`` is a function of the seed and ``i`` alone.

    So the sequence can be taken up anywhere, by any number of workers or processes. Epoch ``e`` takes one patch from
    every photo, in an order of its own.
    """

    def __init__(
        self,
        photos: Photos,
        *,
        scale: int,
        crop_size: int,
        degradation: Degradation,
        crop: Crop = "random",
        seed: int = 0,
    ) -> None:
        self.photos, self.scale, self.crop_size = photos, scale, crop_size
        self.degradation, self.crop, self.seed = degradation, crop, seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __getitem__(self, index: int) -> Pair:
        epoch, position = divmod(index, len(self.photos))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.photos))
        photo = int(self._order[1][position])
        rng = np.random.default_rng((self.seed, 1, index))
        patch = augment(crop_patch(self.photos.pixels(photo), self.crop_size, crop=self.crop, rng=rng), rng)
        hr = torch.from_numpy(np.ascontiguousarray(patch)).permute(2, 0, 1).float()[None] / 255
        lr = quantize(degrade(hr, self.scale, kind=self.degradation, rng=rng))
        return Pair(hr[0], lr[0], self.photos.paths[photo])


def crop_patch(
    pixels: NDArray[np.uint8], size: int, *, crop: Crop = "random", rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut a ``(size, size, 3)`` patch out of ``(H, W, 3)``, at a random place or from the centre."""
    height, width = pixels.shape[:2]
    if crop == "center":
        top, left = (height - size) // 2, (width - size) // 2
    else:
        top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return pixels[top : top + size, left : left + size]


def augment(patch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One of the 8 flips and rotations of a square patch."""
    patch = np.rot90(patch, int(rng.integers(4)))
    return patch[:, ::-1] if rng.integers(2) else patch


def collate(pairs: list[Pair]) -> tuple[Tensor, Tensor, list[Path]]:
    """Stack pairs into a batch: HR ``(N, 3, H, W)``, LR ``(N, 3, h, w)``, paths."""
    return torch.stack([p.hr for p in pairs]), torch.stack([p.lr for p in pairs]), [p.path for p in pairs]


def validation_pairs(photos: Photos, *, scale: int, degradation: Degradation, side: int = 256) -> Iterator[Pair]:
    """The centre of each photo, at most ``side`` HR pixels a side, with its LR: the same ones every time."""
    for index, path in enumerate(photos.paths):
        pixels = photos.pixels(index)
        height, width = (min(side, length) // scale * scale for length in pixels.shape[:2])
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        patch = pixels[top : top + height, left : left + width]
        hr = torch.from_numpy(patch.copy()).permute(2, 0, 1).float()[None] / 255
        lr = quantize(degrade(hr, scale, kind=degradation, rng=np.random.default_rng(index)))
        yield Pair(hr[0], lr[0], path)
