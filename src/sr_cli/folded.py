"""The inference form of the networks: the same function to rounding error, in fewer and faster steps."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sr_cli.convolutions import rows_of_kernel, sum_of_rows
from sr_cli.networks import NEGATIVE_SLOPE, Compact, Johnson, ResidualBlock, bicubic_phases
from sr_cli.packed import Layer
from sr_cli.phases import transposed_kernel, unshuffled_kernel

_RADIUS = 2  # of the output layer, in cells of 2×2 pixels
_STRIP = 64 << 20  # bytes that a strip of phases may take


def fold(network: nn.Module, *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The inference form of a network, or the network itself where it has none.

    Args:
        network: in eval mode and float32; it is left as it is.
        dtype: what it will run in; this doesn't convert it.

    Returns:
        A module that maps the same input to the same output, to about 1e-6; for inference only.
    """
    if isinstance(network, Johnson):
        return FoldedJohnson(network, by_row=dtype == torch.float32)
    return FoldedCompact(network) if isinstance(network, Compact) else network


class FoldedCompact(nn.Module):
    """`Compact` whose activations belong to its convolutions, and whose skip is added by the last of them."""

    bicubic: Tensor

    def __init__(self, network: Compact) -> None:
        super().__init__()
        self.scale = network.scale
        inner = (network.head, *network.body)
        self.layers = nn.ModuleList(Layer(each, "leaky_relu", slope=NEGATIVE_SLOPE) for each in inner)
        self.tail = Layer(network.tail)
        self.register_buffer("bicubic", network.bicubic, persistent=False)

    def forward(self, lr: Tensor) -> Tensor:
        features = lr.to(self.tail.weight.dtype)
        for layer in self.layers:
            features = layer(features)
        return F.pixel_shuffle(self.tail.added_to(bicubic_phases(lr, self.bicubic), features), self.scale)


class FoldedJohnson(nn.Module):
    """`Johnson` with its BatchNorms folded into the convolutions and its upsampling done on phases.

    The transposed convolutions become 2×2 convolutions. The phases of the last one are not put in place: the 9×9
    convolution to 3 channels, which leaves most of a vector unit idle, becomes a 5×5 convolution from 256 to 12; and
    that, still too narrow for float32, one of its five rows to 60. Both are done in strips, as all phases at once would
    take most of the memory.

    Args:
        network: in eval mode.
        by_row: whether the output layer is done row by row. In bfloat16, whose matrix units take 12 outputs in their
            stride, the kernel as a whole is faster, 7 times on a CPU with AMX.
    """

    def __init__(self, network: Johnson, *, by_row: bool = True) -> None:
        super().__init__()
        self.scale, self.by_row = network.scale, by_row
        self.head = Layer(_fuse(network.head[0], network.head[1]), "relu")
        self.blocks = nn.ModuleList(_fold_block(block) for block in network.body)  # type: ignore[arg-type]
        self.upsampling = nn.ModuleList()
        for level, (convolution, norm, _) in enumerate(network.upsampling):  # type: ignore[misc]
            fused = _fuse(convolution, norm)  # type: ignore[has-type]
            last = level == len(network.upsampling) - 1
            # Beyond the first, the border of zeros is what the shuffle before leaves, see `_shuffled`.
            upsampling = _convolution(transposed_kernel(fused.weight), fused.bias, padding=0 if level or last else 1)
            if last:
                _move_phases_first(upsampling)
            self.upsampling.append(Layer(upsampling, "relu"))
        tail = _inputs_phases_first(unshuffled_kernel(network.tail.weight))
        self.tail = Layer(_convolution(rows_of_kernel(tail) if by_row else tail, None, padding=_RADIUS))
        assert network.tail.bias is not None
        self.tail_bias = nn.Parameter(network.tail.bias.detach().repeat_interleave(4), requires_grad=False)

    def memory(self, height: int, width: int) -> int:
        """About how many bytes an LR image of that size takes at once, in float32, its result included."""
        body = 4 * Johnson.width * height * width  # what an inner convolution gives
        growth: int = 4 ** (len(self.upsampling) - 1)
        cells = growth * height * width
        phases = min(16 * Johnson.width * cells, _STRIP + _STRIP // 4)
        upsampling = body + 2 * growth * body if growth > 1 else 4 * body  # once as phases, once in place
        return max(upsampling, growth * body + phases + phases // 3 + 2 * 48 * cells)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.head(lr)
        for first, second in self.blocks:  # type: ignore[misc]
            features = second.added_to(features, first(features))  # type: ignore[has-type]
        for upsampling in self.upsampling[:-1]:
            features = _shuffled(upsampling(features))
        return F.pixel_shuffle(self._end(features), 2)[..., 1:-1, 1:-1].add(1).div_(2)

    def _end(self, features: Tensor) -> Tensor:
        """The last upsampling and the output layer, in phases, from top to bottom."""
        if len(self.upsampling) == 1:
            features = F.pad(features, (1, 1, 1, 1))
        height, width = features.shape[2] - 1, features.shape[3] - 1
        bytes_a_row = len(features) * 4 * Johnson.width * width * features.element_size()
        count = max(_STRIP // bytes_a_row, 8 * _RADIUS)
        strips = [self._strip(features, top, min(top + count, height)) for top in range(0, height, count)]
        return strips[0] if len(strips) == 1 else torch.cat(strips, dim=2)

    def _strip(self, features: Tensor, top: int, bottom: int) -> Tensor:
        height = features.shape[2] - 1
        first, last = max(top - _RADIUS, 0), min(bottom + _RADIUS, height)
        phases = self.upsampling[-1](features[:, :, first : last + 1])
        _cut_border(phases, above=first == 0, below=last == height)
        strip: Tensor = self.tail(phases)
        del phases
        if self.by_row:
            strip = sum_of_rows(strip, size=2 * _RADIUS + 1, outputs=12, bias=self.tail_bias)
        else:
            strip += self.tail_bias.view(-1, 1, 1)
        return strip[:, :, top - first : bottom - first].tanh()


def _shuffled(phases: Tensor) -> Tensor:
    """The phases put in place, with a border of zeros: what a transposed convolution with padding 1 would have cut off.

    So the next convolution needs no padding.
    """
    features = F.pixel_shuffle(phases, 2)
    for border in (features[:, :, 0], features[:, :, -1], features[..., 0], features[..., -1]):
        border.zero_()
    return features


def _fold_block(block: ResidualBlock) -> nn.ModuleList:
    first, first_norm, _, second, second_norm = block.branch
    return nn.ModuleList([Layer(_fuse(first, first_norm), "relu"), Layer(_fuse(second, second_norm))])


def _fuse(convolution: nn.Module, norm: nn.Module) -> Any:
    assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose2d))


def _convolution(kernel: Tensor, bias: Tensor | None, *, padding: int) -> nn.Conv2d:
    """A convolution of that kernel; ``bias`` has a value for each four outputs, the phases of a channel."""
    outputs, inputs, *size = kernel.shape
    convolution = nn.Conv2d(inputs, outputs, tuple(size), padding=padding, bias=bias is not None)  # type: ignore[arg-type]
    convolution.weight = nn.Parameter(kernel.detach().clone(), requires_grad=False)
    if bias is not None:
        convolution.bias = nn.Parameter(bias.detach().repeat_interleave(4), requires_grad=False)
    return convolution


@torch.no_grad()
def _move_phases_first(convolution: nn.Conv2d) -> None:
    """Order the outputs by phase, then channel: each phase's channels lie together and can be cut as one."""
    for parameter in (convolution.weight, convolution.bias):
        assert parameter is not None
        parameter.copy_(parameter.reshape(-1, 4, *parameter.shape[1:]).transpose(0, 1).reshape(parameter.shape))


def _inputs_phases_first(kernel: Tensor) -> Tensor:
    outputs, inputs, *size = kernel.shape
    return kernel.reshape(outputs, inputs // 4, 4, *size).transpose(1, 2).reshape(kernel.shape)


def _cut_border(phases: Tensor, *, above: bool, below: bool) -> None:
    """Set to zero, in place, what a transposed convolution with padding 1 would have cut off: a pixel on every side.

    Args:
        phases: ``(N, 4·C, H, W)``, ordered by phase, then channel.
        above, below: whether the image ends there.
    """
    left_top, right_top, left_bottom, right_bottom = phases.chunk(4, dim=1)
    if above:
        left_top[:, :, 0] = right_top[:, :, 0] = 0
    if below:
        left_bottom[:, :, -1] = right_bottom[:, :, -1] = 0
    for left in (left_top, left_bottom):
        left[..., 0] = 0
    for right in (right_top, right_bottom):
        right[..., -1] = 0
