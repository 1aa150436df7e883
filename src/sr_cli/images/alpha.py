"""Colors for transparent pixels, so that a network sees no arbitrary ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sr_cli.images.picture import Pixels

if TYPE_CHECKING:  # torch takes a second to import, and pictures with alpha are rare
    from torch import Tensor


def bleed(color: Pixels, alpha: Pixels) -> Pixels:
    """Fill the color under fully transparent pixels from the visible ones around them.

    The color there is arbitrary, mostly black or white, and a network's receptive field would carry it into visible
    pixels as a fringe. Instead the visible colors are continued smoothly. Visible pixels stay as they are.

    Args:
        color: ``(H, W, C)``.
        alpha: ``(H, W)``, straight.

    Returns:
        Like ``color``; ``color`` itself if every pixel is visible or none is.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return color
    import torch

    weight = torch.from_numpy(alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max))[None, None]
    filled: Pixels = color.copy()
    for channel in range(color.shape[2]):
        plane = torch.from_numpy(color[..., channel].astype(np.float32))[None, None]
        continued = _double(_pull_push(_halve(plane * weight), _halve(weight)), plane)[0, 0].numpy()
        filled[hidden, channel] = continued[hidden] + np.float32(0.5)
    return filled


def _pull_push(weighted: Tensor, weight: Tensor) -> Tensor:
    """Divide weighted colors by their weights, both ``(1, 1, H, W)``, and fill the gaps.

    Pull: the same at half the size, recursively, until there are no gaps. Push: each gap is interpolated from there.

    Source: Gortler et al. 1996, "The Lumigraph", section 3.4.2.
    """
    known = weight > 0
    average = weighted / weight.clamp(min=1e-30)
    if known.all():
        return average
    coarse = _pull_push(_halve(weighted), _halve(weight))
    return average.where(known, _double(coarse, average))


def _halve(values: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.avg_pool2d(values, 2, ceil_mode=True)


def _double(coarse: Tensor, like: Tensor) -> Tensor:
    import torch.nn.functional as F

    height, width = like.shape[-2:]
    return F.interpolate(coarse, scale_factor=2, mode="bilinear")[..., :height, :width]
