"""What SR did to fine texture: how sharp it is, and whether a checkerboard lies over it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sr_cli.imageops.color import luma
from sr_cli.metrics.fidelity import comparable, eight_bit, shaved

CELLS = 21
"""Side of the square in which a pattern has to be steady to count, in cells of scale × scale pixels."""


def sharpness(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Mean gradient magnitude of SR's luma over HR's: 1 is as sharp as HR, less is blurred, more is overdone.

    Args and Raises are those of `sr_cli.metrics.psnr`.

    Returns:
        ``(N,)``; not finite if HR is flat.
    """
    sr, hr = comparable(sr, hr, shave)
    return _mean_gradient(sr) / _mean_gradient(hr)


def checkerboard(sr: Tensor, hr: Tensor, *, scale: int, shave: int) -> Tensor:
    """Strength of a pattern with the scale's period in SR, over HR's: well above 1 is a checkerboard.

    Args and Raises are those of `sr_cli.metrics.psnr`; a picture smaller than `CELLS` cells is a ``ValueError``, too.

    Returns:
        ``(N,)``; not finite if HR is flat.
    """
    sr, hr = comparable(sr, hr, shave)
    return pattern_strength(sr, scale) / pattern_strength(hr, scale)


def pattern_strength(image: Tensor, scale: int) -> Tensor:
    """RMS of what is the same in every cell of scale × scale pixels, over squares of `CELLS` × `CELLS` cells.

    Luma minus its 5×5 mean is split into its scale² phases; the mean over the phases is subtracted, and each phase is
    averaged over the square: texture cancels out, a steady pattern stays.

    Args:
        image: ``(N, 3, H, W)`` in [0, 1]; rounded to 8 bit here.

    Returns:
        ``(N,)``, in units of luma's range.
    """
    y = luma(eight_bit(image))
    fine = shaved(y, 2) - F.avg_pool2d(y, 5, stride=1)
    height, width = (side // scale * scale for side in fine.shape[-2:])
    if min(height, width) < CELLS * scale:
        side = CELLS * scale + 4
        raise ValueError(f"the checkerboard measure needs at least {side}×{side} pixels after shaving")
    phases = F.pixel_unshuffle(fine[..., :height, :width], scale)
    steady = phases - phases.mean(dim=1, keepdim=True)
    for kernel in ((CELLS, 1), (1, CELLS)):  # one after the other: a tenth of the additions
        steady = F.avg_pool2d(steady, kernel, stride=1)
    return steady.square().mean(dim=(1, 2, 3)).sqrt()


def _mean_gradient(image: Tensor) -> Tensor:
    y = luma(image)
    down, right = y[..., 1:, :-1] - y[..., :-1, :-1], y[..., :-1, 1:] - y[..., :-1, :-1]
    return torch.hypot(down, right).mean(dim=(1, 2, 3))
