"""What to show a network where a picture shows nothing."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sr_cli.images.picture import Pixels


def bleed(color: Pixels, alpha: Pixels) -> Pixels:
    """Fill the color under fully transparent pixels from the visible ones around them.

    What lies there is arbitrary, mostly black or white, and a network's receptive field carries it over the edge into
    visible pixels, as a fringe. Here it continues smoothly instead (a pull-push pyramid: averages weighted by alpha,
    from the finest scale that has any). Visible pixels are left as they are.

    Args:
        color: ``(H, W, C)``.
        alpha: ``(H, W)``, straight.

    Returns:
        Like ``color``; itself where there is nothing to fill, or nothing to fill it from.

    Source: Gortler et al. 1996, "The Lumigraph", section 3.4.2.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return color
    weight = torch.from_numpy(alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max))[None, None]
    half_weight = _halved(weight)
    filled: Pixels = color.copy()
    for channel in range(color.shape[2]):
        values = torch.from_numpy(color[..., channel].astype(np.float32))[None, None]
        filling = _doubled(_filled(_halved(values * weight), half_weight), values)
        filled[hidden, channel] = filling.numpy()[0, 0][hidden] + np.float32(0.5)
    return filled


def _filled(weighted: Tensor, weight: Tensor) -> Tensor:
    """Colors out of weighted colors and weights, both ``(1, 1, H, W)``; gaps come from half the size."""
    gaps = weight == 0
    average = weighted / weight.clamp(min=1e-30)
    if not gaps.any():
        return average
    coarse = _filled(_halved(weighted), _halved(weight))
    return torch.where(gaps, _doubled(coarse, average), average)


def _halved(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, 2, ceil_mode=True)


def _doubled(coarse: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return F.interpolate(coarse, scale_factor=2, mode="bilinear")[..., :height, :width]
