"""`Compact` whose features gate themselves."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.networks.base import Network
from sr_cli.networks.compact import SLOPE, Compact, FusedCompact
from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.networks.fast.streaming import Rows
from sr_cli.networks.fast.training_convolutions import Conv2d
from sr_cli.networks.registry import scales_of


class Gated(Compact):
    """`Compact` whose features are multiplied by a gate after every fifth inner convolution.

    A gate is 2·σ(1×1 convolution) of the features themselves. It looks at one pixel, so strips and tiles stay exact and
    the halo is that of `Compact`. It starts at 1: an untrained network is an untrained `Compact`.

    Args:
        scale: 2, 3, 4 or 8.
        width: channels of the inner convolutions.
        depth: number of inner convolutions, a multiple of 5.

    Raises:
        ValueError: the depth isn't such a multiple.

    Source: pixel attention, Zhao et al. 2020 (PAN, arXiv 2010.01073); blocks that gate their own output, Wan et al.
    2023 (SPAN, arXiv 2311.12770).
    """

    EVERY = 5
    scales: ClassVar[tuple[int, ...]] = scales_of("gated")
    inner_layers: ClassVar[tuple[str, ...]] = ("body", "gates")

    def __init__(self, *, scale: int, width: int = 64, depth: int = 15) -> None:
        super().__init__(scale=scale, width=width, depth=depth)
        if depth % self.EVERY:
            raise ValueError(f"depth must be a multiple of {self.EVERY} for gated, not {depth}")
        self.gates = nn.ModuleList(Conv2d(width, width, 1) for _ in range(depth // self.EVERY))
        for parameter in self.gates.parameters():
            nn.init.zeros_(parameter)

    def can_start_from(self, other: Network) -> bool:
        architecture = other.architecture | ({"name": "gated"} if type(other) is Compact else {})
        return architecture | {"scale": self.scale} == self.architecture

    def inner(self, features: Tensor) -> Tensor:
        for index, convolution in enumerate(self.body, start=1):
            features = F.leaky_relu(convolution(features), SLOPE)
            if index % self.EVERY == 0:
                features = features * (2 * torch.sigmoid(self.gates[index // self.EVERY - 1](features)))
        return features

    def fuse(self, *, matrix_units: bool = False) -> nn.Module:  # noqa: ARG002
        layers: list[nn.Module] = [FusedConv(self.head, "leaky_relu", slope=SLOPE)]
        for index, convolution in enumerate(self.body):
            gated = index and index % self.EVERY == 0
            if gated:
                layers.append(FusedGate(self.gates[index // self.EVERY - 1]))  # type: ignore[arg-type]
            kernel = _doubled(convolution) if gated else convolution  # type: ignore[arg-type]
            layers.append(FusedConv(kernel, "leaky_relu", slope=SLOPE))  # type: ignore[arg-type]
        if self.body:
            layers.append(FusedGate(self.gates[-1]))  # type: ignore[arg-type]
        tail = FusedConv(_doubled(self.tail) if self.body else self.tail)
        return FusedCompact(layers, tail, scale=self.scale, skip=self.bicubic)


class FusedGate(nn.Module):
    """Half of a gate's result, in place of its input. The convolution after it has kernels of twice the size, which
    changes no bit."""

    def __init__(self, gate: nn.Conv2d) -> None:
        super().__init__()
        self.gate = FusedConv(gate)

    def forward(self, features: Tensor) -> Tensor:
        return features.mul_(self.gate(features).sigmoid_())

    def on_rows(self, rows: Rows) -> Rows:
        """The same for an image that comes in strips."""
        before, main, after = (None if part is None else self(part) for part in rows[:3])
        assert main is not None
        return Rows(before, main, after, rows.last)


def _doubled(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same convolution of features that are half as large."""
    outputs, inputs, *size = convolution.weight.shape
    doubled = nn.Conv2d(inputs, outputs, tuple(size), padding=1)  # type: ignore[arg-type]
    doubled.weight = nn.Parameter(2 * convolution.weight.detach(), requires_grad=False)
    doubled.bias = convolution.bias
    return doubled
