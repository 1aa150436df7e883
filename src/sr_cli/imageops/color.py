"""Luma and chroma: the one place for the numbers of ITU-R BT.601. No torch at module level, for `sr_cli.images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

STUDIO_LUMA = (65.481, 128.553, 24.966)
"""Y of R, G and B in [0, 1]: 8-bit levels in studio swing, less the offset of 16."""

FULL_RANGE_LUMA = (0.299, 0.587, 0.114)
"""Y of R, G and B in full range, as in JPEG."""

CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Cb and Cr of R, G and B in full range, less the offset of one half."""


def luma(rgb: Tensor) -> Tensor:
    """The Y of YCbCr in studio swing, as MATLAB's ``rgb2ycbcr`` computes it.

    Args:
        rgb: ``(N, 3, H, W)`` in [0, 1].

    Returns:
        ``(N, 1, H, W)`` in [16/255, 235/255].
    """
    return ((rgb * rgb.new_tensor(STUDIO_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True) + 16) / 255


def full_range_luma(rgb: Tensor) -> Tensor:
    """``(N, 3, H, W)`` → ``(N, 1, H, W)``, in the range of the input."""
    return (rgb * rgb.new_tensor(FULL_RANGE_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
