"""Gaussian weights and blur."""

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_weights(sigma: float, *, radius: int) -> Tensor:
    """``(2 · radius + 1,)`` float64 weights of a Gaussian cut off at ``radius``; their sum is 1."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian cut off at 4 σ; edge pixels are repeated.

    Args:
        image: ``(N, C, H, W)``.
        sigma: standard deviation, in pixels; 0 leaves the image as it is.
    """
    if sigma == 0:
        return image
    radius = max(1, round(4 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    # The weights of `gaussian_weights`, but for rounding: LR of the published figures was made with these.
    weights = torch.softmax(-(offsets**2) / (2 * sigma**2), dim=0)
    channels = image.shape[1]
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
