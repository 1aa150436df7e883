"""PSNR and SSIM as the literature measures them."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sr_cli.data import degrade
from sr_cli.imageops.color import luma
from sr_cli.imageops.gaussian import gaussian_weights

Channel = Literal["y", "gray", "rgb"]
"""What is measured: luma in studio swing (16 to 235), luma in full range (0 to 255), or all three channels.

The published figures on Y took files of one channel as they were, 0 to 255, and converted all others, even those whose
three channels are equal: ``"gray"`` is for the former alone (``img_003`` in Set14; not ``img_010``).
"""

WINDOW = 11
"""Side of the Gaussian window of SSIM, in pixels."""

SIGMA = 1.5
"""Standard deviation of that window, in pixels."""


def psnr(sr: Tensor, hr: Tensor, *, shave: int, channel: Channel = "y") -> Tensor:
    """Peak signal-to-noise ratio: of 8-bit pictures, border shaved, peak 255.

    Args:
        sr: ``(N, 3, H, W)`` in [0, 1]; rounded to 8 bit here.
        hr: same shape and range.
        shave: width of the border that is ignored, in pixels; the literature takes the scale.
        channel: ``"y"``, the literature's; ``"gray"`` if HR is a file of one channel; or ``"rgb"``.

    Returns:
        ``(N,)`` in dB; infinite if the two are equal.

    Raises:
        ValueError: the shapes differ, or nothing is left after shaving.
    """
    sr, hr = (in_channel(image, channel) for image in comparable(sr, hr, shave))
    return -10 * torch.log10((sr - hr).square().mean(dim=(1, 2, 3)))


def lr_psnr(sr: Tensor, lr: Tensor, *, scale: int, degradation: str, channel: Channel = "y") -> Tensor:
    """PSNR of SR, downsampled again, against LR; nothing is shaved.

    Args:
        sr: ``(N, 3, scale · h, scale · w)`` in [0, 1]; rounded to 8 bit here.
        lr: ``(N, 3, h, w)`` in [0, 1].
        degradation: how LR was made. ``paper`` is repeated; for all others SR is downsampled bicubically, since the
            random steps of ``photo`` and ``real`` cannot be repeated.
        channel: as for `psnr`.
    """
    # Degraded in float32, the precision that LR was made in.
    small = degrade(eight_bit(sr).float(), scale, kind="paper" if degradation == "paper" else "bicubic")
    return psnr(small, lr, shave=0, channel=channel)


def ssim(sr: Tensor, hr: Tensor, *, shave: int, channel: Channel = "y") -> Tensor:
    """Structural similarity with an 11×11 Gaussian window, σ = 1.5, only where the whole window fits.

    Args and Raises are those of `psnr`; a picture smaller than the window is a ``ValueError``.

    Returns:
        ``(N,)``, 1 if the two are equal.

    Source: Wang et al. 2004.
    """
    sr, hr = (in_channel(image, channel) for image in comparable(sr, hr, shave))
    if min(hr.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs at least {WINDOW}×{WINDOW} pixels after shaving, not {_size(hr)}")
    mean_sr, mean_hr = _window_mean(sr), _window_mean(hr)
    variance_sr = _window_mean(sr * sr) - mean_sr**2
    variance_hr = _window_mean(hr * hr) - mean_hr**2
    covariance = _window_mean(sr * hr) - mean_sr * mean_hr
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_sr * mean_hr + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_sr**2 + mean_hr**2 + c1) * (variance_sr + variance_hr + c2))
    return similarity.mean(dim=(1, 2, 3))


def eight_bit(image: Tensor) -> Tensor:
    """The values that an 8-bit file would hold: multiples of 1/255 in [0, 1], as float64."""
    return image.double().clamp(0, 1).mul(255).round().div(255)


def shaved(image: Tensor, shave: int) -> Tensor:
    """The picture without a border of ``shave`` pixels; a ``ValueError`` if nothing would be left."""
    height, width = image.shape[-2:]
    if shave < 0 or min(height, width) <= 2 * shave:
        raise ValueError(f"cannot shave {shave} pixels off every side of {_size(image)}")
    return image[..., shave : height - shave, shave : width - shave]


def comparable(sr: Tensor, hr: Tensor, shave: int) -> tuple[Tensor, Tensor]:
    """Both pictures in 8 bit, as float64, and shaved; a ``ValueError`` for other shapes, or if nothing is left."""
    if sr.shape != hr.shape:
        raise ValueError(f"SR is {_size(sr)} and HR {_size(hr)}: they have to be the same size")
    return shaved(eight_bit(sr), shave), shaved(eight_bit(hr), shave)


def in_channel(rgb: Tensor, channel: Channel) -> Tensor:
    """``(N, 3, H, W)`` as it is for ``rgb``, else its luma ``(N, 1, H, W)``; all in [0, 1]."""
    if channel == "rgb":
        return rgb
    if channel == "y":
        return luma(rgb)
    return (luma(rgb) * 255 - 16) / 219


def _window_mean(image: Tensor) -> Tensor:
    window = gaussian_weights(SIGMA, radius=WINDOW // 2).to(image).expand(image.shape[1], 1, 1, WINDOW)
    image = F.conv2d(image, window, groups=image.shape[1])
    return F.conv2d(image, window.mT, groups=image.shape[1])


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]}×{image.shape[-2]}"
