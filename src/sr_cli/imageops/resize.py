"""Resizing as MATLAB's ``imresize`` does it: the bicubic that the literature's LR images and figures come from."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Kernel = Literal["bicubic", "bilinear", "nearest"]

_BORDER = 4  # output pixels (or input pixels, when enlarging) that the repeated border must cover


def resize(image: Tensor, size: tuple[int, int], *, kernel: Kernel = "bicubic") -> Tensor:
    """Resize with an antialiased kernel (bicubic: a = −0.5); if a ratio is an integer, edge pixels are repeated.

    Args:
        image: ``(N, C, H, W)``, floating point.
        size: ``(height, width)`` of the result, in pixels.
        kernel: ``nearest`` repeats or drops pixels, without antialiasing.

    Returns:
        ``(N, C, height, width)``. Bicubic overshoots: values may leave the range of the input.

    Source: Keys 1981 for the kernel; MATLAB's ``imresize`` for antialiasing; borders as in the benchmarks' LR files.
    """
    height, width = image.shape[-2:]
    if (height, width) == tuple(size):
        return image
    if kernel == "nearest":
        return F.interpolate(image, size=size, mode="nearest-exact")
    (before_y, after_y), (before_x, after_x) = map(_borders, image.shape[-2:], size)
    padded = F.pad(image, (before_x, before_x, before_y, before_y), mode="replicate")
    padded_size = (size[0] + 2 * after_y, size[1] + 2 * after_x)
    large = F.interpolate(padded, size=padded_size, mode=kernel, antialias=True)
    return large[..., after_y : after_y + size[0], after_x : after_x + size[1]]


def _borders(old: int, new: int) -> tuple[int, int]:
    """Pixels to add before resizing, and to crop afterwards, so that the sampling grid in between is the same."""
    if old % new == 0:
        return _BORDER * (old // new), _BORDER
    if new % old == 0:
        return _BORDER, _BORDER * (new // old)
    return 0, 0
