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


def _compute(metric: Callable[..., Tensor], sr: Tensor, hr: Tensor) -> Tensor:
    # In float32, as published, since some of piq's kernels are. Clamped, because rounding may take luma just above 1.
    try:
        return metric(sr.float().clamp(0, 1), hr.float().clamp(0, 1), data_range=1.0, reduction="none").double()
    except ValueError as error:
        raise ValueError(f"{hr.shape[-1]}×{hr.shape[-2]} pixels after shaving are too few for it") from error


def _on_rgb(metric: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def compute(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
        return _compute(metric, *comparable(sr, hr, shave))

    return compute


dss = _on_rgb(piq.dss)  # DCT subband similarity, Balanov et al. 2015
haarpsi = _on_rgb(piq.haarpsi)  # Haar wavelet-based perceptual similarity, Reisenhofer et al. 2018
mdsi = _on_rgb(piq.mdsi)  # mean deviation similarity index, lower is better, Nafchi et al. 2016
gmsd = _on_rgb(piq.gmsd)  # gradient magnitude similarity deviation, lower is better, Xue et al. 2013
vif = _on_rgb(piq.vif_p)  # visual information fidelity in the pixel domain, Sheikh and Bovik 2006
