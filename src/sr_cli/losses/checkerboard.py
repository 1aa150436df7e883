"""Penalties on checkerboard artifacts: patterns with the period of the scale that feature losses reward.

A network that works on LR pixels paints the same pattern into the cell of scale × scale pixels that each of them
becomes; on smooth areas nothing hides it. Both penalties take two images ``(N, 3, H, W)`` and return a scalar, 0 for a
difference without a pattern. No gradient flows through ``hr``.
"""

from torch import Tensor, nn
from torch.nn import functional as F

_EPSILON = 1e-12  # keeps the gradient of the root finite where there is no pattern


class CheckerboardLoss(nn.Module):
    """RMS of what SR − HR has in common in every cell of scale × scale pixels.

    The difference, averaged over the channels, is split into its scale² phases, the mean over the phases is subtracted,
    and each phase is averaged over squares of cells: texture cancels out, a steady pattern stays.

    Args:
        scale: the side of a cell, in pixels; H and W are multiples of it.
        cells: the side of a square, in cells. Large squares (``rms``) find a pattern over a whole surface. Dots that
            change sign from one 8×8 block of a JPEG picture to the next cancel out in them; small squares (``block``)
            find those, too, but also suppress a little texture.

    Source: ours; `sr_cli.metrics.checkerboard` is the corresponding measure.
    """

    def __init__(self, scale: int, *, cells: int = 15) -> None:
        super().__init__()
        self.scale, self.cells, self.min_size = scale, cells, scale

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (_steady(sr, hr, self.scale, self.cells).square().mean() + _EPSILON).sqrt()


class CheckerboardPairLoss(nn.Module):
    """RMS, square by square, of what SR − HR has in common in every pair of cells: patterns of twice the scale.

    A network can amplify the faintest noise of a smooth area into a pattern that alternates from one LR pixel to the
    next, which a feature loss rewards, too. `CheckerboardLoss` doesn't see it, as its sign changes from cell to cell.
    Here a period is two cells, and the root is taken in each square of `PERIODS` × `PERIODS` periods before the mean:
    a level in a smooth area counts as much as a level in texture. An incomplete last period is ignored.

    Args:
        scale: the side of a cell, in pixels; H and W are at least twice as large.

    Source: ours; ``docs/research/faint_noise.py`` shows what it is for.
    """

    PERIODS = 5

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.min_size = self.period = 2 * scale

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (_steady(sr, hr, self.period, self.PERIODS).square().mean(1) + _EPSILON).sqrt().mean()


def _steady(sr: Tensor, hr: Tensor, period: int, side: int) -> Tensor:
    """SR − HR in its period² phases, less their mean, each averaged over every square of side × side periods."""
    difference = (sr - hr.detach()).mean(1, keepdim=True)
    height, width = (length // period * period for length in difference.shape[-2:])
    phases = F.pixel_unshuffle(difference[..., :height, :width], period)
    side = min(side, *phases.shape[-2:])
    return F.avg_pool2d(phases - phases.mean(1, keepdim=True), side, stride=1)
