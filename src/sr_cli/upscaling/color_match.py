"""Correct what a network does to colors, by those of LR.

The result is corrected as if it were there in one piece, but it arrives and leaves in strips of rows, in little memory.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sr_cli.imageops.resize import resize
from sr_cli.imageops.streaming_resize import blur_weights, mirrored

LOW_FREQUENCY_SIGMA = 4.0
"""Standard deviation, in LR pixels, of the blur that separates color from detail."""

_RADIUS = 2  # of a bicubic kernel, in LR pixels
_STEP = 32  # LR rows that are resized at once: few, to save memory

_LEVELS = 65535  # that the histograms distinguish


def match_low_frequencies(
    strips: Iterable[Tensor], lr: Callable[[slice], Tensor], shape: tuple[int, int], *, scale: int
) -> Iterator[Tensor]:
    """Give SR the low frequencies of LR: add the blurred and upscaled difference between LR and downsampled SR.

    SR is downsampled bicubically, as LR probably was. With the mean of each cell instead, borders would look tinted.

    Args:
        strips: SR, ``(1, 3, scale·h, scale·W)`` in [0, 1], from top to bottom.
        lr: returns rows of LR, ``(1, 3, h, W)`` in [0, 1].
        shape: height and width of LR.

    Yields:
        The corrected SR in strips, in [0, 1].
    """
    height = shape[0]
    blur_down = blur_weights(height, LOW_FREQUENCY_SIGMA)
    reach = blur_down.index.shape[1] // 2 + 1
    difference: Tensor | None = None
    waiting: Tensor | None = None
    # in LR rows: the first of `difference`, and the numbers of those received, compared and yielded
    first = arrived = known = done = 0
    for strip in strips:
        waiting = strip if waiting is None else torch.cat([waiting, strip], dim=-2)
        arrived += strip.shape[-2] // scale
        for rows in _steps(known, arrived if arrived == height else arrived - _RADIUS):
            above, below = max(0, rows.start - _RADIUS), min(height, rows.stop + _RADIUS)
            part = waiting[..., (above - done) * scale : (below - done) * scale, :]
            small = resize(part, (below - above, shape[1]))[..., rows.start - above : rows.stop - above, :]
            here = _blurred_across(lr(rows) - small, blur_down.weight[0])
            difference = here if difference is None else torch.cat([difference, here], dim=-2)
            known = rows.stop
        ready = height if known == height else known - reach
        if difference is None or ready <= done:
            continue
        above, below = max(0, done - 1), min(height, ready + 1)
        low = blur_down.part(above, below).apply(difference, dim=-2, first=first)
        out = waiting[..., : (ready - done) * scale, :]
        _add_upscaled(out, low, skipped=(done - above) * scale)
        yield out.clamp_(0, 1)
        waiting = waiting[..., (ready - done) * scale :, :].clone()
        done = ready
        passed = max(0, done - reach) - first
        difference, first = difference[..., passed:, :].clone(), first + passed


def _steps(start: int, stop: int) -> Iterator[slice]:
    """The rows from ``start`` to ``stop``, `_STEP` at a time."""
    for top in range(start, stop, _STEP):
        yield slice(top, min(top + _STEP, stop))


def _blurred_across(image: Tensor, weights: Tensor) -> Tensor:
    """`ResampleWeights.apply` along rows, for a filter whose weights are the same everywhere; much faster."""
    width, radius = image.shape[-1], len(weights) // 2
    padded = image.index_select(-1, mirrored(torch.arange(-radius, width + radius), width))
    result = padded[..., :width] * weights[0]
    for shift, weight in enumerate(weights[1:], start=1):
        result += padded[..., shift : shift + width] * weight
    return result


def _add_upscaled(sr: Tensor, low: Tensor, *, skipped: int) -> None:
    """Add ``low``, bilinearly upscaled and without its first ``skipped`` rows then, to ``sr``, a few rows at a time."""
    scale = sr.shape[-1] // low.shape[-1]
    for top in range(0, sr.shape[-2], _STEP * scale):
        out = sr[..., top : top + _STEP * scale, :]
        first, last = (top + skipped) // scale, (top + skipped + out.shape[-2]) // scale
        above, below = max(0, first - 1), min(low.shape[-2], last + 1)
        size = ((below - above) * scale, sr.shape[-1])
        large = F.interpolate(low[..., above:below, :], size=size, mode="bilinear", align_corners=False)
        start = top + skipped - above * scale
        out += large[..., start : start + out.shape[-2], :]


def match_histogram(
    strips: Iterable[Tensor], lr: Callable[[slice], Tensor], shape: tuple[int, int], *, scale: int
) -> Iterator[Tensor]:
    """Give each channel of SR the histogram of LR's. SR is held back, in 16 bits, until its last row has arrived.

    Arguments and results are those of `match_low_frequencies`.

    Source: Johnson et al. 2016, section 4.2, which matches the output to the low-resolution input.
    """
    height, width = shape
    wanted = np.zeros((3, _LEVELS + 1), np.int64)
    for top in range(0, height, 256):
        _count(wanted, _integers(lr(slice(top, min(height, top + 256)))))
    kept = np.empty((3, height * scale, width * scale), np.uint16)
    given = np.zeros_like(wanted)
    filled = 0
    for strip in strips:
        rows = slice(filled, filled + strip.shape[-2])
        kept[:, rows] = _integers(strip)
        _count(given, kept[:, rows])
        filled = rows.stop
    curves = [_curve(*counts) for counts in zip(given, wanted, strict=True)]
    for top in range(0, height * scale, 256):
        rows = slice(top, top + 256)
        matched = np.stack([curve[plane] for curve, plane in zip(curves, kept[:, rows], strict=True)])
        yield torch.from_numpy(matched)[None]


def _integers(values: Tensor) -> npt.NDArray[np.uint16]:
    return (values[0].clamp(0, 1).numpy() * np.float32(_LEVELS) + np.float32(0.5)).astype(np.uint16)  # type: ignore[no-any-return]


def _count(counts: npt.NDArray[np.int64], planes: npt.NDArray[np.uint16]) -> None:
    for channel, plane in enumerate(planes):
        counts[channel] += np.bincount(plane.ravel(), minlength=_LEVELS + 1)


def _curve(given: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The rising map from values with the histogram ``given`` to values in [0, 1] with the histogram ``wanted``."""
    values = np.flatnonzero(wanted)
    # A value stands for the middle of the quantiles that its pixels span.
    wanted_quantile = (np.cumsum(wanted) - wanted / 2)[values] / wanted.sum()
    given_quantile = (np.cumsum(given) - given / 2) / given.sum()
    return np.interp(given_quantile, wanted_quantile, values / _LEVELS).astype(np.float32)  # type: ignore[no-any-return]
