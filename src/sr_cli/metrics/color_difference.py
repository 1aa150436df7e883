"""CIEDE2000, how different two colors look, and the shift of a whole picture's colors."""

import torch
from torch import Tensor

from sr_cli.metrics.fidelity import comparable

_XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_STRIP = 64  # rows
_D65 = (0.95047, 1.0, 1.08883)


def color_error(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Mean CIEDE2000 difference over the pixels: about 1 is just visible, 2 to 3 is seen at a glance.

    Args and Raises are those of `sr_cli.metrics.psnr`.

    Returns:
        ``(N,)``, 0 if the two are equal.
    """
    sr, hr = comparable(sr, hr, shave)
    # The formula needs some forty numbers per pixel: strips of rows keep them in little memory. Single precision takes
    # half the time and is good for six digits of the mean.
    strips = zip(torch.split(sr, _STRIP, dim=-2), torch.split(hr, _STRIP, dim=-2), strict=True)
    differences = (ciede2000(*(lab_of_srgb(strip.float()) for strip in pair)) for pair in strips)
    sums = [difference.sum(dim=(1, 2), dtype=torch.float64) for difference in differences]
    return torch.stack(sums).sum(dim=0) / (hr.shape[-2] * hr.shape[-1])


def color_shift(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Distance of a channel's mean from HR's, for the channel that is furthest off: a cast over the whole picture.

    Args and Raises are those of `sr_cli.metrics.psnr`.

    Returns:
        ``(N,)``, in 8-bit levels, 0 … 255.
    """
    means = [image.mean(dim=(2, 3)) for image in comparable(sr, hr, shave)]
    return 255 * (means[0] - means[1]).abs().amax(dim=1)


def lab_of_srgb(rgb: Tensor) -> Tensor:
    """CIE L*a*b* (D65, 2°) of sRGB in [0, 1]; both ``(N, 3, H, W)``."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = torch.tensor(_XYZ_OF_RGB, dtype=rgb.dtype, device=rgb.device)
    white = torch.tensor(_D65, dtype=rgb.dtype, device=rgb.device).view(1, 3, 1, 1)
    xyz = torch.einsum("ij,njhw->nihw", matrix, linear) / white
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp(min=1e-9) ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """The CIEDE2000 difference of every pixel.

    Args:
        first: L*a*b*, ``(N, 3, H, W)``.
        second: same shape.

    Returns:
        ``(N, H, W)``.

    Source: Sharma, Wu, Dalal 2005, "The CIEDE2000 Color-Difference Formula".
    """
    (l1, a1, b1), (l2, a2, b2) = first.unbind(1), second.unbind(1)
    mean_chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * torch.sqrt(mean_chroma**7 / (mean_chroma**7 + 25**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    hue, hue_step = _mean_hue(torch.atan2(b1, a1), torch.atan2(b2, a2), gray=c1 * c2 == 0)

    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight_l = 1 + 0.015 * (lightness - 50) ** 2 / torch.sqrt(20 + (lightness - 50) ** 2)
    weight_c = 1 + 0.045 * chroma
    weight_h = 1 + 0.015 * chroma * _hue_weight(hue)
    delta_l = (l2 - l1) / weight_l
    delta_c = (c2 - c1) / weight_c
    delta_h = 2 * torch.sqrt(c1 * c2) * torch.sin(hue_step / 2) / weight_h
    turn = torch.deg2rad(60 * torch.exp(-(((torch.rad2deg(hue) - 275) / 25) ** 2)))
    rotation = -2 * torch.sqrt(chroma**7 / (chroma**7 + 25**7)) * torch.sin(turn)
    return torch.sqrt((delta_l**2 + delta_c**2 + delta_h**2 + rotation * delta_c * delta_h).clamp(min=0))


def _mean_hue(first: Tensor, second: Tensor, *, gray: Tensor) -> tuple[Tensor, Tensor]:
    """The hue halfway round the circle, in [0, 2π), and the angle from the first to the second, in (−π, π]."""
    first, second = first % (2 * torch.pi), second % (2 * torch.pi)
    step = second - first
    far = step.abs() > torch.pi
    total = first + second
    mean = torch.where(far, torch.where(total < 2 * torch.pi, total + 2 * torch.pi, total - 2 * torch.pi), total) / 2
    step = torch.where(far, step - 2 * torch.pi * step.sign(), step)
    return torch.where(gray, total, mean), torch.where(gray, torch.zeros_like(step), step)


def _hue_weight(hue: Tensor) -> Tensor:
    degrees = torch.pi / 180
    return (
        1
        - 0.17 * torch.cos(hue - 30 * degrees)
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + 6 * degrees)
        - 0.20 * torch.cos(4 * hue - 63 * degrees)
    )
