"""The self-ensemble loss: agree with one's own results for flipped and rotated inputs."""

from torch import Tensor

from sr_cli.losses.pixel import PsnrLoss


def self_ensemble_loss(sr: Tensor, twin: Tensor, hr: Tensor) -> Tensor:
    """Squared distance between two results for the same patch, relative to the squared error of the first.

    The mean over the eight symmetries of a square is closer to HR than any one result (``sr upscale --ensemble``).
    Matching its own output on flipped and rotated inputs distills that mean into one pass, with a target that is much
    less noisy than a photo; see ``sr train --self-ensemble-weight``.

    Args:
        sr: the network's result.
        twin: its result for the transformed patch, transformed back; a constant.
        hr: the truth, for the error, which is a constant, too.

    Shapes:
        three images ``(N, 3, H, W)`` in [0, 1] → scalar, the mean over N.

    Source: ours; self-ensemble, Lim et al. 2017 (EDSR), section 3.4.
    """
    error = (sr.detach() - hr).float().square().mean((1, 2, 3)) + PsnrLoss.FLOOR
    return ((sr - twin.detach()).float().square().mean((1, 2, 3)) / error).mean()
