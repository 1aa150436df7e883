"""Metrics that agree with people better than PSNR and need no weights, computed by piq.

All take ``(N, 3, H, W)`` in [0, 1], round to 8 bit, shave, and return ``(N,)``. All raise ``ValueError`` if the shapes
differ or the picture is too small for the metric.
"""

from collections.abc import Callable

import piq
from torch import Tensor

from sr_cli.metrics.fidelity import Channel, comparable, in_channel


def ms_ssim(sr: Tensor, hr: Tensor, *, shave: int, channel: Channel = "y") -> Tensor:
    """Multi-scale SSIM on five scales; needs 161 pixels a side. Source: Wang et al. 2003."""
    sr, hr = (in_channel(image, channel) for image in comparable(sr, hr, shave))
    return _compute(piq.multi_scale_ssim, sr, hr)


def dss(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """DCT subband similarity. Source: Balanov et al. 2015."""
    return _compute(piq.dss, *comparable(sr, hr, shave))


def haarpsi(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Haar wavelet-based perceptual similarity. Source: Reisenhofer et al. 2018."""
    return _compute(piq.haarpsi, *comparable(sr, hr, shave))


def mdsi(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Mean deviation similarity index; lower is better. Source: Nafchi et al. 2016."""
    return _compute(piq.mdsi, *comparable(sr, hr, shave))


def gmsd(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Gradient magnitude similarity deviation; lower is better. Source: Xue et al. 2013."""
    return _compute(piq.gmsd, *comparable(sr, hr, shave))


def vif(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Visual information fidelity in the pixel domain. Source: Sheikh and Bovik 2006."""
    return _compute(piq.vif_p, *comparable(sr, hr, shave))


def _compute(metric: Callable[..., Tensor], sr: Tensor, hr: Tensor) -> Tensor:
    # In float32, as published, since some of piq's kernels are. Clamped, because rounding may take luma just above 1.
    try:
        return metric(sr.float().clamp(0, 1), hr.float().clamp(0, 1), data_range=1.0, reduction="none").double()
    except ValueError as error:
        raise ValueError(f"{hr.shape[-1]}×{hr.shape[-2]} pixels after shaving are too few for it") from error
