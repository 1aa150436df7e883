"""Resizing as MATLAB's ``imresize`` does it: the bicubic that the literature's LR images and figures come from."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kernel = Literal["bicubic", "bilinear", "nearest"]

_BORDER = 4  # output pixels (or input pixels, when enlarging) that a mirrored border must cover


def resize(image: Tensor, size: tuple[int, int], *, kernel: Kernel = "bicubic") -> Tensor:
    """Resize with an antialiased kernel (bicubic: a = −0.5) and, for whole-number ratios, mirrored borders.

    Args:
        image: ``(N, C, H, W)``, floating point.
        size: ``(height, width)`` of the result, in pixels.
        kernel: ``nearest`` repeats or drops pixels and does no antialiasing.

    Returns:
        ``(N, C, height, width)``. Bicubic overshoots: values may leave the range of the input.

    Source: Keys 1981 for the kernel; MATLAB's ``imresize`` for antialiasing and borders.
    """
    height, width = image.shape[-2:]
    if (height, width) == tuple(size):
        return image
    if kernel == "nearest":
        return F.interpolate(image, size=size, mode="nearest-exact")
    down, up = _whole_ratio((height, width), size), _whole_ratio(size, (height, width))
    if not down and not up:
        return F.interpolate(image, size=size, mode=kernel, antialias=True)
    before, after = _BORDER * (down or 1), _BORDER * (up or 1)
    mirrored = mirror_pad(image, before)
    large = F.interpolate(mirrored, size=(size[0] + 2 * after, size[1] + 2 * after), mode=kernel, antialias=True)
    return large[..., after:-after, after:-after]


def mirror_pad(image: Tensor, border: int) -> Tensor:
    """Add a border of mirrored pixels, the edge pixel repeated (``cba|abc|cba``), however small the image.

    Args:
        image: ``(..., H, W)``.
        border: pixels to add on each side; may exceed H and W.
    """
    rows, columns = (_mirrored(length, border, image.device) for length in image.shape[-2:])
    return image.index_select(-2, rows).index_select(-1, columns)


def _mirrored(length: int, border: int, device: torch.device) -> Tensor:
    positions = torch.arange(-border, length + border, device=device) % (2 * length)
    return torch.minimum(positions, 2 * length - 1 - positions)


def _whole_ratio(large: tuple[int, int], small: tuple[int, int]) -> int | None:
    """How many times ``small`` goes into ``large``, the same whole number in both directions; else ``None``."""
    ratio = large[0] // small[0]
    return ratio if ratio >= 1 and large == (small[0] * ratio, small[1] * ratio) else None
