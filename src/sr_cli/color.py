"""Color: the luma that the literature measures on."""

import torch
from torch import Tensor

_LUMA = (65.481, 128.553, 24.966)


def luma(rgb: Tensor) -> Tensor:
    """The Y of YCbCr in studio swing, as MATLAB's ``rgb2ycbcr`` computes it.

    Args:
        rgb: ``(N, 3, H, W)`` in [0, 1].

    Returns:
        ``(N, 1, H, W)`` in [16/255, 235/255].

    Source: ITU-R BT.601.
    """
    weights = torch.tensor(_LUMA, dtype=rgb.dtype, device=rgb.device).view(1, 3, 1, 1)
    return ((rgb * weights).sum(1, keepdim=True) + 16) / 255
