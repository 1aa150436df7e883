"""A small network of 3×3 convolutions at LR resolution, with sub-pixel upsampling."""

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.imageops.resize import resize
from sr_cli.networks.base import Geometry, Network
from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.networks.fast.streaming import Rows, Stream, StreamedConv
from sr_cli.networks.fast.training_convolutions import Conv2d
from sr_cli.networks.registry import scales_of

SLOPE = 0.1  # of the leaky ReLUs, below zero
_NOISE = 0.3
_SKIP = 2  # radius of the bicubic skip, in LR pixels


class Compact(Network):
    """A stack of 3×3 convolutions at LR resolution that adds detail to the bicubically upscaled input.

    No batch normalization. The inner convolutions start as the identity plus noise, which trains like a residual
    network and costs nothing to run. The last one feeds a pixel shuffle and starts with equal sub-pixels (ICNR), so
    that an untrained network paints no checkerboard.

    Args:
        scale: 2, 3, 4 or 8.
        width: channels of the inner convolutions.
        depth: number of inner convolutions.

    Source: sub-pixel convolution, Shi et al. 2016; ICNR, Aitken et al. 2017 (arXiv 1707.02937).
    """

    scales: ClassVar[tuple[int, ...]] = scales_of("compact")
    streams = True
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
        """Initialize: identity plus noise inside, ICNR at the end."""
        nn.init.kaiming_normal_(self.head.weight, a=SLOPE)
        for convolution in self.body:
            noise = nn.init.kaiming_normal_(torch.empty_like(convolution.weight), a=SLOPE)  # type: ignore[arg-type]
            nn.init.dirac_(convolution.weight)  # type: ignore[arg-type]
            convolution.weight += _NOISE * noise  # type: ignore[operator]
        sub_pixel = nn.init.kaiming_normal_(torch.empty(3, self.width, 3, 3)) * _NOISE
        self.tail.weight.copy_(sub_pixel.repeat_interleave(self.scale**2, dim=0))
        for convolution in (self.head, *self.body, self.tail):
            nn.init.zeros_(convolution.bias)

    @property
    def geometry(self) -> Geometry:
        return Geometry(scale=self.scale, halo=self.depth + 2)  # the bicubic skip alone reaches 2 pixels

    def can_start_from(self, other: Network) -> bool:
        free = {"scale": self.scale}
        if isinstance(other, Compact) and other.depth < self.depth:
            free["depth"] = self.depth  # inner layers start near the identity, so more of them change little
        return other.architecture | free == self.architecture

    def forward(self, lr: Tensor) -> Tensor:
        features = self.inner(F.leaky_relu(self.head(lr.to(self.head.weight.dtype)), SLOPE))
        # Not in half precision, whose steps near white are as wide as an 8-bit file's.
        with torch.autocast(lr.device.type, enabled=False):
            skip = bicubic_phases(lr, self.bicubic)
        return F.pixel_shuffle(self.tail(features) + skip, self.scale)

    def inner(self, features: Tensor) -> Tensor:
        """Run the layers between the first and the last: ``(N, width, H, W)`` → the same shape."""
        for convolution in self.body:
            features = F.leaky_relu(convolution(features), SLOPE)
        return features

    def fuse(self, *, matrix_units: bool = False) -> nn.Module:  # noqa: ARG002
        layers = [FusedConv(each, "leaky_relu", slope=SLOPE) for each in (self.head, *self.body)]
        return FusedCompact(layers, FusedConv(self.tail), scale=self.scale, skip=self.bicubic)


class FusedCompact(nn.Module):
    """`Compact` with its activations fused into the convolutions, and the skip added by the last of them.

    Args:
        layers: all but the last one; those that aren't a `FusedConv` of 3×3 pixels work on single ones, and have
            ``on_rows``.
        scale: of the pixel shuffle.
        skip: the kernel that enlarges the input, see `bicubic_kernel`.
    """

    keep_in_float32 = ("skip",)  # so that bfloat16, whose 8 bits show in a clear sky, rounds only the added detail
    skip: Tensor

    def __init__(self, layers: Iterable[nn.Module], tail: FusedConv, *, scale: int, skip: Tensor) -> None:
        super().__init__()
        self.layers, self.tail, self.scale = nn.ModuleList(layers), tail, scale
        self.lag = 1 + sum(isinstance(each, FusedConv) for each in self.layers)  # in rows, of the tail behind the input
        self.register_buffer("skip", skip, persistent=False)

    def forward(self, lr: Tensor) -> Tensor:
        features = lr.to(self.tail.weight.dtype)
        for layer in self.layers:
            features = layer(features)
        return F.pixel_shuffle(self.tail.added_to(bicubic_phases(lr, self.skip), features), self.scale)

    def stream(self) -> Stream:
        """Run over one image that comes in strips."""
        layers: list[Callable[[Rows], Rows]] = [
            StreamedConv(each) if isinstance(each, FusedConv) else each.on_rows  # type: ignore[misc]
            for each in self.layers
        ]
        tail, lag = StreamedConv(self.tail), self.lag
        waiting: Tensor | None = None

        def run(lr: Tensor, last: bool) -> Tensor:
            nonlocal waiting
            rows = Rows(None, lr.to(self.tail.weight.dtype), None, last)
            for layer in layers:
                rows = layer(rows)
            seen = lr if waiting is None else torch.cat([waiting, lr], dim=2)
            known = seen if last else seen[:, :, : seen.shape[2] - (lag - _SKIP)]
            skip = bicubic_phases(known, self.skip, above=waiting is None, below=last)
            waiting = None if last else seen[:, :, -lag - _SKIP :].clone()
            return F.pixel_shuffle(tail.added_to(skip, rows), self.scale)

        return run


def bicubic_phases(lr: Tensor, kernel: Tensor, *, above: bool = True, below: bool = True) -> Tensor:
    """Bicubic upscaling, before the pixel shuffle.

    Args:
        kernel: see `bicubic_kernel`.
        above, below: whether the image ends there; where it goes on, the result is two rows shorter.
    """
    return F.conv2d(F.pad(lr, (2, 2, 2 * above, 2 * below), mode="replicate"), kernel)


def bicubic_kernel(scale: int) -> Tensor:
    """Bicubic upscaling of RGB, as a convolution before a pixel shuffle; the input is padded by repeating 2 pixels.

    Returns:
        ``(3·scale², 3, 5, 5)``; the result is that of `sr_cli.imageops.resize.resize`.
    """
    impulses = torch.eye(25).view(25, 1, 5, 5)
    middle = slice(2 * scale, 3 * scale)
    phases = resize(impulses, (5 * scale, 5 * scale))[:, 0, middle, middle]
    one_channel = phases.permute(1, 2, 0).reshape(1, scale**2, 1, 5, 5)
    return (torch.eye(3).view(3, 1, 3, 1, 1) * one_channel).reshape(3 * scale**2, 3, 5, 5)
