"""What happens to pictures between the camera and us: blur, resizes, noise, sharpening and compression, twice."""

import math
from collections.abc import Callable, Iterator, Mapping

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_cli.degradation_table import DegradationOrder, Range, RealDegradation

_BLOCK = 64  # output pixels along an axis that one matrix product computes
_NEGLIGIBLE = 0.01  # singular values of a kernel that are left out, relative to the largest

Floats = NDArray[np.float64]
Taps = tuple[Floats, Floats]
"""Weights along rows and along columns, of odd lengths: a separable kernel."""


def degrade_real(
    hr: Tensor, size: tuple[int, int], table: RealDegradation, rng: np.random.Generator, *, log: list[str] | None = None
) -> Tensor:
    """Make LR as the web, cameras and phones make it.

    No step moves the picture: pixel centers are mapped to pixel centers, and all kernels are symmetric.

    Args:
        hr: ``(3, H, W)`` float32 in [0, 1].
        size: height and width of LR.
        log: gets a few words for each step.

    Returns:
        ``(3, *size)`` in [0, 1], not rounded.

    Source: Real-ESRGAN (arXiv 2107.10833), section 3.
    """
    picture = _Picture(hr.float().contiguous(), size, table, rng, [] if log is None else log)
    if rng.random() < table.clean:
        picture.resize(size, mode=str(rng.choice(["bicubic", "area"])))
        if rng.random() < table.clean_compress:
            picture.compress(table.clean_quality, webp=0)
        return picture.image.clamp(0, 1)
    picture.pass_through(table.first)
    if rng.random() < table.second_order:
        picture.pass_through(table.second)
    compresses, compresses_first = rng.random() < table.last_compress, rng.random() < 0.5
    if compresses and compresses_first:
        picture.compress(table.last_quality)
    if rng.random() < table.last_sinc:
        picture.sinc()
    picture.resize(size)
    if compresses and not compresses_first:
        picture.compress(table.last_quality)
    return picture.image.clamp(0, 1)


class _Picture:
    """A picture on its way from HR to LR.

    A blur waits for the resize that may come next, as the two are one filter.
    """

    def __init__(
        self, image: Tensor, lr_size: tuple[int, int], table: RealDegradation, rng: np.random.Generator, log: list[str]
    ) -> None:
        self.lr_size, self.table, self.rng, self.log = lr_size, table, rng, log
        self._image = image
        self._blurs: list[Taps] = []  # separable kernels whose sum is still to be applied

    @property
    def image(self) -> Tensor:
        """``(3, H, W)``; its values may leave [0, 1] a little."""
        if self._blurs:
            self._filter(self.size, "area")
        return self._image

    @property
    def size(self) -> tuple[int, int]:
        return self._image.shape[-2], self._image.shape[-1]

    @property
    def pixels_per_lr_pixel(self) -> float:
        return self.size[0] / self.lr_size[0]

    def pass_through(self, order: DegradationOrder) -> None:
        if self.rng.random() < order.blur:
            self.blur(order.sigma)
        if self.rng.random() < order.resize:
            low, high = map(math.log, order.size)
            ratio = math.exp(self.rng.uniform(low, high))
            self.resize((max(1, round(ratio * self.lr_size[0])), max(1, round(ratio * self.lr_size[1]))))
        if self.rng.random() < order.noise:
            self.add_noise(order.noise_sigma)
        if self.rng.random() < order.sharpen:
            self.sharpen(order.amount)
        if self.rng.random() < order.compress:
            self.compress(order.quality)

    def blur(self, sigma: Range) -> None:
        kind = self.pick(self.table.kernels)
        if kind == "sinc":
            self.sinc()
        else:
            across, down = (self.pixels_per_lr_pixel * self.rng.uniform(*sigma) for _ in range(2))
            if kind == "isotropic":
                self.log.append(f"blur {across:.1f} px")
                self._blur_by([(_gaussian(across),) * 2])
            else:
                angle, shape = self.rng.uniform(0, math.pi), self.rng.uniform(*self.table.shape)
                self.log.append(f"{kind} blur {across:.1f}×{down:.1f} px")
                self._blur_by(_separated(_kernel(kind, across, down, angle, shape)))

    def sinc(self) -> None:
        """Blur by a low-pass with a sharp edge, which rings."""
        cutoff = self.rng.uniform(*self.table.cutoff)
        self.log.append(f"sinc {cutoff:.2f}")
        cutoff = min(1.0, cutoff / self.pixels_per_lr_pixel)
        radius = min(math.ceil(4 / cutoff), 40)
        taps = np.sinc(cutoff * np.arange(-radius, radius + 1))
        self._blur_by([(taps / taps.sum(),) * 2])

    def _blur_by(self, terms: list[Taps]) -> None:
        before = self._blurs
        self._blurs = [(np.convolve(a, c), np.convolve(b, d)) for a, b in before for c, d in terms] or terms

    def resize(self, size: tuple[int, int], *, mode: str | None = None) -> None:
        mode = mode or self.pick(self.table.modes)
        if size != self.size:
            self.log.append(f"{mode} to {size[1]}×{size[0]}")
        self._filter(size, mode)

    def _filter(self, size: tuple[int, int], mode: str) -> None:
        terms: list[Taps | None] = [*self._blurs] or [None]
        parts = [filter_image(self._image, size, mode, taps) for taps in terms]
        self._image, self._blurs = sum(parts[1:], parts[0]), []

    def add_noise(self, sigma: Range) -> None:
        level, grows = self.rng.uniform(*sigma) / 255, self.rng.random() < self.table.poisson
        channels = 1 if self.rng.random() < self.table.gray_noise else 3
        self.log.append(f"{'gray ' * (channels == 1)}{'Poisson' if grows else 'Gaussian'} noise {255 * level:.1f}")
        image = self.image.clamp(0, 1)
        noise = torch.from_numpy(self.rng.standard_normal((channels, *self.size), dtype=np.float32))
        # Poisson noise of the many photons that a visible picture takes is Gaussian, of a variance like its mean.
        self._image = image + noise * (level * (2 * image).sqrt() if grows else level)

    def sharpen(self, amount: Range) -> None:
        strength, sigma = self.rng.uniform(*amount), self.rng.uniform(0.5, 1.5)
        self.log.append(f"sharpened {strength:.1f} at {sigma:.1f} px")
        soft = filter_image(self.image, self.size, "area", (_gaussian(sigma),) * 2)
        self._image = self.image + strength * (self.image - soft)

    def compress(self, quality: Range, *, webp: float | None = None) -> None:
        level = round(self.rng.uniform(*quality))
        is_webp = self.rng.random() < (self.table.webp if webp is None else webp)
        pixels = (self.image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
        # The blocks of a crop, or of a screenshot, begin anywhere.
        top, left = (int(start) for start in self.rng.integers(8, size=2))
        height, width = self.size
        pixels = pixels[np.arange(-top, height).clip(0)[:, None], np.arange(-left, width).clip(0)]
        if is_webp:
            self.log.append(f"WebP {level}")
            decoded = imagecodecs.webp_decode(imagecodecs.webp_encode(pixels, level=level, lossless=False, method=0))
        else:
            share, full = self.rng.random(), self.table.full_chroma
            chroma = "444" if share < full else "422" if share < full + (1 - full) / 4 else "420"
            self.log.append(f"JPEG {level} {chroma[0]}:{chroma[1]}:{chroma[2]}")
            decoded = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(pixels, level=level, subsampling=chroma))
        kept = np.ascontiguousarray(decoded[top:, left:].transpose(2, 0, 1))
        self._image = torch.from_numpy(kept).float() / 255

    def pick(self, shares: Mapping[str, float]) -> str:
        """One of the names, by their shares."""
        bounds = np.cumsum(list(shares.values()))
        return list(shares)[int(np.searchsorted(bounds, self.rng.random() * bounds[-1], side="right"))]


def _gaussian(sigma: float) -> Floats:
    radius = max(1, math.ceil(3 * sigma))
    taps: Floats = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    taps /= taps.sum()
    return taps


def _kernel(kind: str, across: float, down: float, angle: float, shape: float) -> Floats:
    """A kernel with the standard deviations ``across`` and ``down``, turned by ``angle``; its sum is 1."""
    radius = max(1, math.ceil(3 * max(across, down)))
    line = np.arange(-radius, radius + 1)
    x = (line * math.cos(angle) + line[:, None] * math.sin(angle)) / max(across, 1e-2)
    y = (line[:, None] * math.cos(angle) - line * math.sin(angle)) / max(down, 1e-2)
    squared = x * x + y * y
    if kind == "plateau":
        kernel = 1 / (1 + squared**shape)
    else:
        kernel = np.exp(-0.5 * squared ** (shape if kind == "generalized" else 1.0))
    normalized: Floats = kernel / kernel.sum()
    return normalized


def _separated(kernel: Floats) -> list[Taps]:
    """Separable kernels whose sum is ``kernel``, by its singular values."""
    u, s, v = np.linalg.svd(kernel)
    terms = [(v[i] * s[i], u[:, i]) for i in range(int((s > _NEGLIGIBLE * s[0]).sum()))]
    total = sum(across.sum() * down.sum() for across, down in terms)
    return [(across / total, down) for across, down in terms]


_MODES: dict[str, tuple[float, Callable[[Floats, float], Floats]]] = {
    # Half the width of a kernel, in the larger of the two pixels, and its weight at a distance in pixels of the input
    # where a pixel of the result is ``s`` of them wide, or less than one.
    "area": (1.0, lambda d, s: np.clip((s + 1) / 2 - d, 0, 1)),
    "bilinear": (1.0, lambda d, s: np.maximum(1 - d / s, 0)),
    "bicubic": (2.0, lambda d, s: _cubic(d / s)),
}


def _cubic(x: Floats) -> Floats:
    """Keys 1981, a = −0.5."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights: Floats = np.where(x <= 1, near, far * (x < 2))
    return weights


def filter_image(image: Tensor, size: tuple[int, int], mode: str, taps: Taps | None = None) -> Tensor:
    """Blur by a separable kernel and resize, in one pass along each axis; edge pixels are repeated.

    Args:
        image: ``(C, H, W)``.
        size: height and width of the result.
        mode: ``area``, ``bilinear`` or ``bicubic``, all antialiased; at the same size all leave the picture as it is.
        taps: the kernel of the blur, in pixels of ``image``.
    """
    channels, height, width = image.shape
    if size == (height, width) and taps is None:
        return image
    row_taps, column_taps = taps or (None, None)
    along_rows = list(_weights(width, size[1], mode, row_taps))
    is_same = (height, size[0]) == (width, size[1]) and row_taps is column_taps
    along_columns = along_rows if is_same else list(_weights(height, size[0], mode, column_taps))
    lines = image.reshape(-1, width)
    rows = torch.cat([lines[:, window] @ weights.T for window, weights in along_rows], -1).view(channels, height, -1)
    return torch.cat([weights @ rows[:, window] for window, weights in along_columns], -2)


def _weights(length: int, wanted: int, mode: str, taps: Floats | None) -> Iterator[tuple[slice, Tensor]]:
    """``wanted`` values as weighted sums of ``length`` others, in blocks: which of them, and the matrix of weights."""
    ratio = length / wanted
    stretch = max(1.0, ratio)
    width, weight_at = _MODES[mode]
    centers = (np.arange(wanted) + 0.5) * ratio - 0.5
    first = np.floor(centers - width * stretch).astype(np.int64)
    offsets = np.arange(math.ceil(2 * width * stretch) + 2)
    weights = weight_at(np.abs(first[:, None] + offsets - centers[:, None]), stretch)
    weights /= weights.sum(1, keepdims=True)
    if taps is not None:
        weights = _convolved(weights, taps)
        first -= len(taps) // 2
        offsets = np.arange(len(offsets) + len(taps) - 1)
    sources = np.clip(first[:, None] + offsets, 0, length - 1)
    for top in range(0, wanted, _BLOCK):
        block = sources[top : top + _BLOCK]
        window = slice(int(block[0, 0]), int(block[-1, -1]) + 1)
        shape = len(block), window.stop - window.start
        places = block - window.start + shape[1] * np.arange(shape[0])[:, None]
        matrix = np.bincount(places.ravel(), weights[top : top + _BLOCK].ravel(), minlength=shape[0] * shape[1])
        yield window, torch.from_numpy(matrix.astype(np.float32).reshape(shape))


def _convolved(lines: Floats, taps: Floats) -> Floats:
    """Each of the lines convolved with ``taps``, and longer by as many values as those reach beyond its ends."""
    length = lines.shape[1]
    padded = np.zeros(len(taps) + 2 * (length - 1))
    padded[length - 1 : length - 1 + len(taps)] = taps
    step = padded.itemsize
    shifted = np.lib.stride_tricks.as_strided(padded[length - 1 :], (length, length + len(taps) - 1), (-step, step))
    # By torch, as NumPy has threads of its own, which would keep on spinning.
    product: Floats = (torch.from_numpy(lines) @ torch.from_numpy(shifted.copy())).numpy()
    return product
