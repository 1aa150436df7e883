"""What SR did to fine texture: how sharp it is, and whether a pattern of the scale's period lies over it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sr_cli.imageops.color import luma
from sr_cli.metrics.fidelity import eight_bit, same_size, shaved

CELLS = 21
"""Side of the square over which a pattern has to be steady to count, in cells of scale × scale pixels."""


def sharpness(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """Mean gradient magnitude of SR's luma over HR's: 1 is as sharp as HR, below is blurred, above is overdone.

    Args and Raises are those of `sr_cli.metrics.psnr`.

    Returns:
        ``(N,)``; not finite where HR is flat.
    """
    same_size(sr, hr)
    return _mean_gradient(shaved(eight_bit(sr), shave)) / _mean_gradient(shaved(eight_bit(hr), shave))


def checkerboard(sr: Tensor, hr: Tensor, *, scale: int, shave: int) -> Tensor:
    """How strong a pattern of the scale's period is in SR, over HR: well above 1 is a checkerboard.

    Args:
        sr: ``(N, 3, H, W)`` in [0, 1]; rounded to 8 bit here.
        hr: same shape and range.
        scale: the period looked for, in pixels.
        shave: pixels that don't count, at every side.

    Returns:
        ``(N,)``; not finite where HR is flat.

    Raises:
        ValueError: the shapes differ, or the picture is smaller than `CELLS` cells.
    """
    same_size(sr, hr)
    return pattern_strength(shaved(sr, shave), scale) / pattern_strength(shaved(hr, shave), scale)


def pattern_strength(image: Tensor, scale: int) -> Tensor:
    """RMS of what is the same in every cell of scale × scale pixels, over squares of `CELLS` × `CELLS` cells.

    Luma minus its 5×5 mean, folded into its scale² phases, minus the mean over the phases, each phase averaged over
    the square: texture cancels out, a steady pattern stays.

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
    for square_side in ((CELLS, 1), (1, CELLS)):  # one after the other: a tenth of the additions
        steady = F.avg_pool2d(steady, square_side, stride=1)
    return steady.square().mean(dim=(1, 2, 3)).sqrt()


def _mean_gradient(image: Tensor) -> Tensor:
    y = luma(image)
    down, right = y[..., 1:, :-1] - y[..., :-1, :-1], y[..., :-1, 1:] - y[..., :-1, :-1]
    return torch.hypot(down, right).mean(dim=(1, 2, 3))
