"""The image transformation network of Johnson et al. 2016, as the Bordeaux report describes it."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from sr_cli.networks.base import Geometry, Network
from sr_cli.networks.fast import fused_johnson
from sr_cli.networks.fast.training_convolutions import Conv2d, ConvTranspose2d
from sr_cli.networks.registry import scales_of

_PHOTO_MEAN, _PHOTO_DEVIATION = 0.45, 0.25  # of values in [0, 1]
_TANH_SLOPE = 2.4


class Johnson(Network):
    """The image transformation network of the Bordeaux report.

    9×9 convolution; four residual blocks; log2(scale) transposed convolutions of kernel 4 and stride 2; 9×9
    convolution. Batch normalization and ReLU follow every convolution but the last, whose tanh is scaled to [0, 1].

    Args:
        scale: 2, 4 or 8.

    Source: the Bordeaux report, section 3.1; Johnson et al. 2016, supplementary, tables 2 and 3.
    """

    scales: ClassVar[tuple[int, ...]] = scales_of("johnson")
    width: ClassVar[int] = 64
    blocks: ClassVar[int] = 4
    streams = True

    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=scale)
        width, doublings = self.width, scale.bit_length() - 1
        self.head = _normalized(Conv2d(3, width, 9, padding=4, bias=False))
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(self.blocks)))
        stages = (ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False) for _ in range(doublings))
        self.upsampling = nn.Sequential(*map(_normalized, stages))
        self.tail = Conv2d(width, 3, 9, padding=4)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.upsampling(self.body(self.head(lr)))
        return (torch.tanh(self.tail(features)) + 1) / 2

    def initialize(self, how: str) -> None:
        if how == "bilinear":
            self.start_bilinear()

    @torch.no_grad()
    def start_bilinear(self) -> None:
        """Initialize so that the untrained network nearly interpolates its input bilinearly.

        Three channels carry red, green and blue through: a 9×9 impulse; residual branches that are zero at first (the
        scale of their last BatchNorm, as in Goyal et al. 2017); transposed convolutions with the bilinear kernel,
        which is 4×4 for a stride of 2; BatchNorms that restore the mean and deviation of photos; an impulse again, of
        the slope at which tanh is nearest to a straight line over [0, 1]. The other channels start at random.
        """
        impulse = torch.zeros(9, 9)
        impulse[4, 4] = 1
        bilinear = torch.outer(*2 * [torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4])
        rgb = torch.arange(3)
        state = self.state_dict(keep_vars=True)
        self.tail.weight.zero_()
        self.tail.weight[rgb, rgb] = _TANH_SLOPE * impulse
        state["tail.bias"].fill_(-_TANH_SLOPE / 2)
        state["head.0.weight"][:3] = 0
        state["head.0.weight"][rgb, rgb] = impulse
        upsampling = [f"upsampling.{i}" for i in range(len(self.upsampling))]
        for stage in upsampling:
            state[f"{stage}.0.weight"][:, :3] = 0
            state[f"{stage}.0.weight"][rgb, rgb] = bilinear
        for stage in ("head", *upsampling):
            state[f"{stage}.1.weight"][:3] = _PHOTO_DEVIATION
            state[f"{stage}.1.bias"][:3] = _PHOTO_MEAN
            state[f"{stage}.1.running_mean"][:3] = _PHOTO_MEAN
            state[f"{stage}.1.running_var"][:3] = _PHOTO_DEVIATION**2
        for i in range(self.blocks):
            state[f"body.{i}.branch.4.weight"].zero_()

    @property
    def geometry(self) -> Geometry:
        radius = 4  # the last convolution, at the output's resolution
        for _ in self.upsampling:
            radius = radius // 2 + 1  # output 2i − 1 + k, k = 0 … 3, comes from input i
        return Geometry(scale=self.scale, halo=radius + 2 * self.blocks + 4)

    def fuse(self, *, matrix_units: bool = False) -> nn.Module:
        return fused_johnson.FusedJohnson(self, by_row=not matrix_units)

    def memory(self, height: int, width: int, *, itemsize: int = 4) -> int:
        return fused_johnson.memory(self, height, width, itemsize=itemsize)


class ResidualBlock(nn.Module):
    """conv3-BN-ReLU-conv3-BN plus the input, with no ReLU after the sum (Gross and Wilber 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.branch = nn.Sequential(*_normalized(first), second, nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        return features + cast(Tensor, self.branch(features))


def _normalized(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))
