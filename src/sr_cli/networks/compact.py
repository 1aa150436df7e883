"""A small network of 3×3 convolutions at LR resolution, with sub-pixel upsampling."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.imageops.resize import resize
from sr_cli.networks.base import Geometry, Network
from sr_cli.networks.fast.training_convolutions import Conv2d
from sr_cli.networks.registry import scales_of

NEGATIVE_SLOPE = 0.1
"""Slope of `Compact`'s leaky ReLUs below zero."""

_NOISE = 0.3


class Compact(Network):
    """A stack of 3×3 convolutions at LR resolution that adds detail to the bicubically upscaled input.

    No batch normalisation. The inner convolutions start as the identity plus noise, which trains like a residual
    network and costs nothing to run. The last one feeds a pixel shuffle and starts with equal sub-pixels (ICNR), so
    that an untrained network paints no checkerboard.

    Args:
        scale: 2, 3, 4 or 8.
        width: channels of the inner convolutions.
        depth: number of inner convolutions.

    Shapes:
        ``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)``, not clamped.

    Source: sub-pixel convolution, Shi et al. 2016; ICNR, Aitken et al. 2017 (arXiv 1707.02937).
    """

    scales: ClassVar[tuple[int, ...]] = scales_of("compact")
    streams: ClassVar[bool] = True
    bicubic: Tensor

    def __init__(self, *, scale: int, width: int = 64, depth: int = 16) -> None:
        super().__init__(scale=scale)
        self.width, self.depth = width, depth
        self.head = Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.tail = Conv2d(width, 3 * scale**2, 3, padding=1)
        self.register_buffer("bicubic", bicubic_kernel(scale), persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise: identity plus noise inside, ICNR at the end."""
        nn.init.kaiming_normal_(self.head.weight, a=NEGATIVE_SLOPE)
        for convolution in self.body:
            noise = nn.init.kaiming_normal_(torch.empty_like(convolution.weight), a=NEGATIVE_SLOPE)  # type: ignore[arg-type]
            nn.init.dirac_(convolution.weight)  # type: ignore[arg-type]
            convolution.weight += _NOISE * noise  # type: ignore[operator]
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        sub_pixel = nn.init.kaiming_normal_(torch.empty(3, self.width, 3, 3)) * _NOISE
        self.tail.weight.copy_(sub_pixel.repeat_interleave(self.scale**2, dim=0))
        for convolution in (self.head, self.tail):
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    @property
    def geometry(self) -> Geometry:
        return Geometry(scale=self.scale, halo=self.depth + 2)  # the bicubic skip alone reaches 2 pixels

    def fuse(self, *, matrix_units: bool = False) -> nn.Module:  # noqa: ARG002
        from sr_cli.networks.fast.fused import FusedCompact

        return FusedCompact(self)

    def can_start_from(self, other: Network) -> bool:
        free = {"scale": self.scale}
        if isinstance(other, Compact) and other.depth < self.depth:
            free["depth"] = self.depth  # inner layers start near the identity, so more of them change little
        return other.architecture | free == self.architecture

    def forward(self, lr: Tensor) -> Tensor:
        features = F.leaky_relu(self.head(lr.to(self.head.weight.dtype)), NEGATIVE_SLOPE)
        for convolution in self.body:
            features = F.leaky_relu(convolution(features), NEGATIVE_SLOPE)
        # Not in half precision, whose steps near white are as wide as an 8-bit file's.
        with torch.autocast(lr.device.type, enabled=False):
            skip = bicubic_phases(lr, self.bicubic)
        return F.pixel_shuffle(self.tail(features) + skip, self.scale)


def bicubic_phases(lr: Tensor, kernel: Tensor, *, above: bool = True, below: bool = True) -> Tensor:
    """The bicubic enlargement of an image, before the pixel shuffle.

    Args:
        kernel: as of `bicubic_kernel`.
        above, below: whether the image ends there; where it goes on, two rows fewer are returned.
    """
    return F.conv2d(F.pad(lr, (2, 2, 2 * above, 2 * below), mode="replicate"), kernel)


def bicubic_kernel(scale: int) -> Tensor:
    """Bicubic enlargement of RGB as a convolution that a pixel shuffle follows, the edges repeated by 2 pixels before.

    Returns:
        ``(3·scale², 3, 5, 5)``; with it the result is that of `resize.resize`.
    """
    impulses = torch.eye(25).view(25, 1, 5, 5)
    middle = slice(2 * scale, 3 * scale)
    phases = resize(impulses, (5 * scale, 5 * scale))[:, 0, middle, middle]
    one_channel = phases.permute(1, 2, 0).reshape(1, scale**2, 1, 5, 5)
    return (torch.eye(3).view(3, 1, 3, 1, 1) * one_channel).reshape(3 * scale**2, 3, 5, 5)
