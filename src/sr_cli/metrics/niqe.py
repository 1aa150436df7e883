"""NIQE: how far a picture's local statistics are from those of sharp photos. It needs no HR.

Source: Mittal, Soundararajan and Bovik 2013, "Making a 'completely blind' image quality analyzer".
"""

import functools
from importlib import resources

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from sr_cli.imageops.color import full_range_luma
from sr_cli.imageops.gaussian import gaussian_weights
from sr_cli.imageops.resize import resize
from sr_cli.metrics.fidelity import eight_bit

BLOCK = 96
"""Side of the blocks whose statistics are compared, in pixels."""

MIN_BLOCKS = 50
"""The fewest blocks with texture, about half a megapixel: the covariance of 36 features of fewer says nothing."""

_RADIUS, _SIGMA = 3, 7 / 6  # of the window for local mean and deviation
_ROUNDING = 1e-3  # levels of deviation that may be rounding errors; one pixel in the window that differs makes 0.01
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))
_SHAPES = torch.arange(0.2, 10.0005, 0.001, dtype=torch.float64)
"""The shapes of a generalized Gaussian that are tried; 1 is Laplace's, 2 the normal distribution."""

_LOG1, _LOG2, _LOG3 = (torch.lgamma(k / _SHAPES) for k in (1, 2, 3))
_FLATNESS = torch.exp(2 * _LOG2 - _LOG1 - _LOG3)
"""The squared mean magnitude over the mean square for each of the shapes; it grows with them."""


def niqe(sr: Tensor) -> Tensor:
    """Distance of a picture's statistics from those of sharp photos; lower is more natural.

    Its unit depends on the photos that the model was fitted to (``tools/fit_niqe.py``), so it cannot be compared with
    the NIQE of other programs.

    Args:
        sr: ``(N, 3, H, W)`` in [0, 1]; rounded to 8 bit here.

    Returns:
        ``(N,)``, 0 and above.

    Raises:
        ValueError: a picture has fewer than `MIN_BLOCKS` blocks that aren't flat.
    """
    return torch.stack([_distance(picture[None]) for picture in sr])


def block_statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """The 36 features of each block of 96×96 pixels, and its sharpness, the mean local deviation of luma.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1]; rounded to 8 bit here. Pixels beyond whole blocks are left out.

    Returns:
        ``(blocks, 36)``, not finite for flat blocks, and ``(blocks,)``.
    """
    rows, columns = (length // BLOCK for length in image.shape[-2:])
    if not rows * columns:
        return image.new_zeros(0, 36, dtype=torch.float64), image.new_zeros(0, dtype=torch.float64)
    y = 255 * full_range_luma(eight_bit(image[..., : rows * BLOCK, : columns * BLOCK]))
    normalized, deviation = _normalize(y)
    half = resize(y, (rows * BLOCK // 2, columns * BLOCK // 2))
    features = [_features(_blocks(normalized, BLOCK)), _features(_blocks(_normalize(half)[0], BLOCK // 2))]
    return torch.cat(features, dim=1), _blocks(deviation, BLOCK).mean(dim=(1, 2))


def _distance(image: Tensor) -> Tensor:
    found, _ = block_statistics(image)
    found = found[found.isfinite().all(dim=1)]
    if len(found) < MIN_BLOCKS:
        size, blocks = f"{image.shape[-1]}×{image.shape[-2]}", f"{len(found)} blocks of {BLOCK}×{BLOCK}"
        raise ValueError(f"{size} pixels hold {blocks} that aren't flat; it needs {MIN_BLOCKS}")
    mean, covariance = (each.to(found) for each in _pristine())
    difference = found.mean(dim=0) - mean
    pooled = (covariance + found.T.cov()) / 2
    inverse: Tensor = torch.linalg.pinv(pooled, hermitian=True)
    return (difference @ inverse @ difference).sqrt()


@functools.cache
def _pristine() -> tuple[Tensor, Tensor]:
    """Mean ``(36,)`` and covariance ``(36, 36)`` of the features of sharp blocks of photos."""
    found = safetensors.torch.load(resources.files("sr_cli.metrics").joinpath("niqe.safetensors").read_bytes())
    return found["mean"], found["covariance"]


def _normalize(y: Tensor) -> tuple[Tensor, Tensor]:
    """Luma less its local mean, over its local deviation plus one level; and that deviation."""
    mean = _window_mean(y)
    deviation = (_window_mean(y * y) - mean * mean).abs().sqrt()
    normalized = (y - mean) / (deviation + 1)
    return torch.where(deviation > _ROUNDING, normalized, 0), deviation


def _window_mean(y: Tensor) -> Tensor:
    window = gaussian_weights(_SIGMA, radius=_RADIUS).to(y).view(1, 1, 1, -1)
    return F.conv2d(F.conv2d(F.pad(y, (_RADIUS,) * 4, mode="replicate"), window), window.mT)


def _blocks(y: Tensor, side: int) -> Tensor:
    """``(1, 1, rows · side, columns · side)`` → ``(rows · columns, side, side)``."""
    rows, columns = (length // side for length in y.shape[-2:])
    return y.view(rows, side, columns, side).transpose(1, 2).reshape(-1, side, side)


def _features(blocks: Tensor) -> Tensor:
    """``(blocks, 18)``: the distribution of the values, and of the products with each of four neighbors."""
    shape, left, right = _fit(blocks)
    found = [shape, (left + right) / 2]
    for shift in _NEIGHBORS:
        shape, left, right = _fit(blocks * blocks.roll(shift, dims=(1, 2)))  # around the block, as the authors do
        mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        found += [shape, mean, left, right]
    return torch.stack(found, dim=1)


def _fit(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape and left and right scale of the asymmetric generalized Gaussian of each block, by its moments."""
    values = blocks.flatten(1)
    below, above = values.clamp(max=0), values.clamp(min=0)
    left = (below.square().sum(1) / (values < 0).sum(1)).sqrt()
    right = (above.square().sum(1) / (values > 0).sum(1)).sqrt()
    ratio = left / right
    flatness = values.abs().mean(1).square() / values.square().mean(1)
    flatness = flatness * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1).square()
    table = _FLATNESS.to(values)
    place = torch.searchsorted(table, flatness).clamp(1, len(table) - 1)
    place = place - (flatness - table[place - 1] < table[place] - flatness).long()
    shape = _SHAPES.to(values)[place]
    scale = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * scale, right * scale
