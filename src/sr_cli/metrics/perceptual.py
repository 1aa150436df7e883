"""Metrics that follow what people see better than PSNR does and need no weights. The work is piq's.

All take ``(N, 3, H, W)`` in [0, 1], SR first, round to 8 bit and shave, and return ``(N,)``. All raise ``ValueError``
where the shapes differ or the picture is too small for the metric.
"""

from collections.abc import Callable

import piq
from torch import Tensor

from sr_cli.metrics.fidelity import Channel, eight_bit, measured, same_size, shaved


def ms_ssim(sr: Tensor, hr: Tensor, *, shave: int, channel: Channel = "y") -> Tensor:
    """Multi-scale SSIM on five scales; needs 161 pixels a side. Source: Wang et al. 2003."""
    same_size(sr, hr)
    pair = (measured(shaved(eight_bit(image), shave), channel) for image in (sr, hr))
    return _of_pair(piq.multi_scale_ssim, *pair)


def dss(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """DCT subband similarity. Source: Balanov et al. 2015."""
    return _of_pictures(piq.dss, sr, hr, shave)


def haarpsi(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Haar wavelet-based perceptual similarity. Source: Reisenhofer et al. 2018."""
    return _of_pictures(piq.haarpsi, sr, hr, shave)


def mdsi(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Mean deviation similarity index; lower is better. Source: Nafchi et al. 2016."""
    return _of_pictures(piq.mdsi, sr, hr, shave)


def gmsd(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Gradient magnitude similarity deviation; lower is better. Source: Xue et al. 2013."""
    return _of_pictures(piq.gmsd, sr, hr, shave)


def vif(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Visual information fidelity, in the pixel domain. Source: Sheikh and Bovik 2006."""
    return _of_pictures(piq.vif_p, sr, hr, shave)


ON_RGB = {"dss": dss, "haarpsi": haarpsi, "mdsi": mdsi, "gmsd": gmsd, "vif": vif}
"""The metrics that always take all three channels, by name."""


def _of_pictures(metric: Callable[..., Tensor], sr: Tensor, hr: Tensor, shave: int) -> Tensor:
    same_size(sr, hr)
    return _of_pair(metric, shaved(eight_bit(sr), shave), shaved(eight_bit(hr), shave))


def _of_pair(metric: Callable[..., Tensor], sr: Tensor, hr: Tensor) -> Tensor:
    # In float32, as published: some of piq's kernels are. Clamped, because luma's rounding may pass 1 by an ulp.
    try:
        return metric(sr.float().clamp(0, 1), hr.float().clamp(0, 1), data_range=1.0, reduction="none").double()
    except ValueError as error:
        raise ValueError(f"{hr.shape[-1]}×{hr.shape[-2]} pixels after shaving are too few for it") from error
