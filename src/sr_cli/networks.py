"""The image transformation networks: LR in, SR out, fully convolutional."""

from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.config import SCALES
from sr_cli.convolutions import Conv2d, ConvTranspose2d
from sr_cli.errors import WeightsError
from sr_cli.resize import resize

NEGATIVE_SLOPE = 0.1
"""Of `Compact`'s leaky ReLUs, below zero."""


class Network(Protocol):
    """What the rest of the package knows of a network."""

    scales: ClassVar[tuple[int, ...]]
    scale: int

    @property
    def halo(self) -> int:
        """LR pixels around a region that its output depends on: the radius of the receptive field."""

    @property
    def architecture(self) -> dict[str, Any]:
        """Its name and the arguments that build it again: ``build(**network.architecture)``."""


class Johnson(nn.Module):
    """The report's image transformation network.

    9×9 convolution; four residual blocks; log2(scale) transposed convolutions of kernel 4 and stride 2; 9×9
    convolution. Batch normalisation and ReLU follow every convolution but the last, whose tanh is scaled to [0, 1].

    Args:
        scale: 2, 4 or 8.

    Shapes:
        ``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)`` in [0, 1].

    Source: the report, section 3.1 (kernel 4 upsampling); Johnson et al. 2016, supplementary, tables 2 and 3.
    """

    scales: ClassVar[tuple[int, ...]] = SCALES["johnson"]
    width: ClassVar[int] = 64
    blocks: ClassVar[int] = 4

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        _check_scale(scale, self.scales)
        self.scale = scale
        doublings = scale.bit_length() - 1
        self.head = nn.Sequential(
            Conv2d(3, self.width, 9, padding=4, bias=False), nn.BatchNorm2d(self.width), nn.ReLU(inplace=True)
        )
        self.body = nn.Sequential(*(ResidualBlock(self.width) for _ in range(self.blocks)))
        self.upsampling = nn.Sequential(
            *(
                nn.Sequential(
                    ConvTranspose2d(self.width, self.width, 4, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(self.width),
                    nn.ReLU(inplace=True),
                )
                for _ in range(doublings)
            )
        )
        self.tail = Conv2d(self.width, 3, 9, padding=4)

    @torch.no_grad()
    def begin_bilinear(self) -> None:
        """Initialise so that the untrained network enlarges its input, nearly as bilinear interpolation does.

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
    def halo(self) -> int:
        radius = 4  # the last convolution, at the output's resolution
        for _ in self.upsampling:
            radius = radius // 2 + 1  # output 2i − 1 + k, k = 0 … 3, comes from input i
        return radius + 2 * self.blocks + 4

    @property
    def architecture(self) -> dict[str, Any]:
        return {"name": "johnson", "scale": self.scale}

    def forward(self, lr: Tensor) -> Tensor:
        features = self.upsampling(self.body(self.head(lr)))
        return (torch.tanh(self.tail(features)) + 1) / 2


class ResidualBlock(nn.Module):
    """conv3-BN-ReLU-conv3-BN plus the input, with no ReLU after the sum (Gross and Wilber 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + cast(Tensor, self.branch(features))


class Compact(nn.Module):
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

    scales: ClassVar[tuple[int, ...]] = SCALES["compact"]
    bicubic: Tensor

    def __init__(self, *, scale: int, width: int = 64, depth: int = 16) -> None:
        super().__init__()
        _check_scale(scale, self.scales)
        self.scale, self.width, self.depth = scale, width, depth
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
    def halo(self) -> int:
        return self.depth + 2  # as far as the bicubic skip reaches even without inner convolutions

    @property
    def architecture(self) -> dict[str, Any]:
        return {"name": "compact", "scale": self.scale, "width": self.width, "depth": self.depth}

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


_PHOTO_MEAN, _PHOTO_DEVIATION = 0.45, 0.25  # of values in [0, 1]
_TANH_SLOPE = 2.4
_NOISE = 0.3

ARCHITECTURES: dict[str, type[Johnson] | type[Compact]] = {"johnson": Johnson, "compact": Compact}


def build(*, name: str, scale: int, width: int | None = None, depth: int | None = None) -> Johnson | Compact:
    """Build a network with fresh weights.

    Args:
        name: ``johnson`` or ``compact``.
        scale: one of the architecture's ``scales``.
        width: channels, for ``compact`` only.
        depth: inner convolutions, for ``compact`` only.

    Raises:
        WeightsError: no architecture has that name.
        ValueError: the architecture doesn't come in that scale or shape.
    """
    if name not in ARCHITECTURES:
        raise WeightsError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    if name == "johnson":
        if width is not None or depth is not None:
            raise ValueError("johnson has a fixed width and depth")
        return Johnson(scale=scale)
    shape = {key: value for key, value in (("width", width), ("depth", depth)) if value is not None}
    return Compact(scale=scale, **shape)


def _check_scale(scale: int, scales: tuple[int, ...]) -> None:
    if scale not in scales:
        raise ValueError(f"scale {scale} is not one of {', '.join(map(str, scales))}")
