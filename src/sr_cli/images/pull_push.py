"""Gaps in a plane of values, filled smoothly from its known pixels."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


def filling(values: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What would continue the pixels of some weight into those without, ``(H, W)`` each.

    Averages weighted at half the size, and where these have gaps, at half that size, and so on (pull); then back, each
    gap interpolated from the size below (push).

    Source: Gortler et al. 1996, "The Lumigraph", section 3.4.2.
    """
    plane, known = torch.from_numpy(values)[None, None], torch.from_numpy(weight)[None, None]
    return _doubled(_filled(_halved(plane * known), _halved(known)), plane)[0, 0].numpy()


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
