"""Pixel losses: distances between the pixels of SR and HR.

All classes take two images ``(N, 3, H, W)`` in [0, 1] and return a scalar. No gradient flows through ``hr``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.imageops.color import CHROMA, STUDIO_LUMA


class L1Loss(nn.Module):
    """Mean absolute difference."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return F.l1_loss(sr, hr.detach())


class L2Loss(nn.Module):
    """Mean squared difference. Source: Johnson et al. 2016, section 3.2; the Bordeaux report, section 3.3."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return F.mse_loss(sr, hr.detach())


class PsnrLoss(nn.Module):
    """What PSNR on Y measures: ln(1 + d / 10⁻⁵) for each patch, d being its mean squared difference of luma.

    Because of the logarithm, 10 % less error is worth as much in a smooth patch as in a textured one. It ignores
    colors: combine it with `L1Loss`.

    Source: Chen et al. 2021 (HINet, arXiv 2105.06086), section 3.3, there on RGB.
    """

    FLOOR = 1e-5  # of the squared difference: 50 dB

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        weights = torch.tensor([weight / 255 for weight in STUDIO_LUMA], device=sr.device).view(3, 1, 1)
        squares = ((sr - hr.detach()).float() * weights).sum(1).square().mean((1, 2))
        return (squares / self.FLOOR).log1p().mean()


class ChromaLoss(nn.Module):
    """Mean absolute difference of Cb and Cr. `L1Loss` hardly notices a tint of one level in a gray wall."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        chroma = torch.tensor(CHROMA, device=sr.device)
        return torch.einsum("dc,nchw->ndhw", chroma, (sr - hr.detach()).float()).abs().mean()


class DetailLoss(nn.Module):
    """Mean absolute difference of what a 3×3 mean leaves: edges and texture, whatever the colors around them.

    Beside `L1Loss`, it counts a soft edge for more than a tone that is slightly off. Source: ours.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        difference = sr - hr.detach()
        return (difference - F.avg_pool2d(difference, 3, 1, 1, count_include_pad=False)).abs().mean()


def self_ensemble_loss(sr: Tensor, twin: Tensor, hr: Tensor) -> Tensor:
    """Squared distance between two results for the same patch, relative to the squared error of the first.

    The mean over the eight symmetries of a square is closer to HR than any one result (``sr upscale --ensemble``).
    Matching its own output on flipped and rotated inputs distills that mean into one pass, with a target that is much
    less noisy than a photo; see ``sr train --self-ensemble-weight``.

    Args:
        sr: the network's result, ``(N, 3, H, W)`` in [0, 1].
        twin: its result for the transformed patch, transformed back; a constant.
        hr: the truth, for the error, which is a constant, too.

    Returns:
        The mean over N.

    Source: ours; self-ensemble, Lim et al. 2017 (EDSR), section 3.4.
    """
    error = (sr.detach() - hr).float().square().mean((1, 2, 3)) + PsnrLoss.FLOOR
    return ((sr - twin.detach()).float().square().mean((1, 2, 3)) / error).mean()
