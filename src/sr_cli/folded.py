"""The inference form of the networks: the same function to rounding error, in fewer and faster steps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sr_cli.convolutions import rows_of_kernel, sum_of_rows
from sr_cli.networks import NEGATIVE_SLOPE, Compact, Johnson, ResidualBlock, bicubic_phases
from sr_cli.packed import Layer
from sr_cli.phases import transposed_kernel, unshuffled_kernel
from sr_cli.streaming import Delayed, Rows, Streamed, StreamedLayer

Stream = Callable[[Tensor, bool], Tensor]
"""Maps a strip of an image, and whether it is the last, to the rows of the result that can be known by now.

``(1, 3, h, w)`` → ``(1, 3, scale·g, scale·w)``. Strips come from top to bottom and are taller than twice the halo.
"""

_SKIP = 2  # radius of the bicubic skip, in LR pixels
_RADIUS = 2  # of the output layer, in cells of 2×2 pixels
_STRIP = 16 << 20  # bytes that a strip of phases may take: about what a cache holds
_ROWS = 8  # the fewest rows of a strip


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

    def stream(self) -> Stream:
        """The network over one image that comes in strips."""
        layers = [StreamedLayer(layer) for layer in self.layers]  # type: ignore[arg-type]
        tail = StreamedLayer(self.tail)
        lag = len(layers) + 1  # rows
        waiting: Tensor | None = None

        def run(lr: Tensor, last: bool) -> Tensor:
            nonlocal waiting
            rows = Rows(None, lr.to(self.tail.weight.dtype), None, last)
            for layer in layers:
                rows = layer(rows)
            seen = lr if waiting is None else torch.cat([waiting, lr], dim=2)
            known = seen if last else seen[:, :, : seen.shape[2] - (lag - _SKIP)]
            skip = bicubic_phases(known, self.bicubic, above=waiting is None, below=last)
            waiting = None if last else seen[:, :, -lag - _SKIP :].clone()
            return F.pixel_shuffle(tail.added_to(skip, rows), self.scale)

        return run


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
            # Padding is the border of zeros that is there before, see `_enlarged`.
            upsampling = _convolution(transposed_kernel(fused.weight), fused.bias, padding=0)
            if level == len(network.upsampling) - 1:
                _move_phases_first(upsampling)
            self.upsampling.append(Layer(upsampling, "relu"))
        # (tanh(x) + 1) / 2 is the sigmoid of 2x: one pass over the result in place of three.
        tail = _inputs_phases_first(unshuffled_kernel(2 * network.tail.weight))
        assert network.tail.bias is not None
        if by_row:
            # The bias belongs to the middle row of the kernel, which never lies on the padding.
            rows = rows_of_kernel(tail)
            bias = F.pad(2 * network.tail.bias, (3 * _RADIUS, len(rows) // 4 - 3 * _RADIUS - 3))
            self.tail = Layer(_convolution(rows, bias, padding=_RADIUS))
        else:
            self.tail = Layer(_convolution(tail, 2 * network.tail.bias, padding=_RADIUS))

    def memory(self, height: int, width: int, itemsize: int = 4) -> int:
        """About how many bytes an LR image of that size takes at once, its result, in float32, included.

        Args:
            itemsize: bytes of a value inside.
        """
        body = itemsize * Johnson.width * height * width  # what an inner convolution gives
        growth: int = 4 ** (len(self.upsampling) - 1)
        cells = growth * height * width
        row: int = 4 * itemsize * Johnson.width * 2 ** (len(self.upsampling) - 1) * width
        phases = min(4 * itemsize * Johnson.width * cells, max(_STRIP + _STRIP // 4, _ROWS * row))
        upsampling = body + 2 * growth * body if growth > 1 else 4 * body  # once as phases, once in place
        return max(upsampling, growth * body + phases + phases // 3 + 2 * 48 * cells)

    def _strip(self, features: Tensor) -> int:
        """How many rows of phases are computed at once."""
        bytes_a_row = len(features) * 4 * Johnson.width * (features.shape[3] - 1) * features.element_size()
        return max(_STRIP // bytes_a_row, _ROWS)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.head(lr)
        for first, second in self.blocks:  # type: ignore[misc]
            features = second.added_to(features, first(features))  # type: ignore[has-type]
        return self._enlarged(features, [None] * len(self.upsampling), self._streamed_tail(), last=True)

    def stream(self) -> Stream:
        """The network over one image that comes in strips."""
        head, tail = StreamedLayer(self.head), self._streamed_tail()
        blocks = [(StreamedLayer(a), StreamedLayer(b), Delayed(lag=2)) for a, b in self.blocks]  # type: ignore[misc, has-type]
        waiting: list[Tensor | None] = [None] * len(self.upsampling)

        def run(lr: Tensor, last: bool) -> Tensor:
            rows = head(Rows(None, lr, None, last))
            for first, second, delayed in blocks:
                sums = delayed(rows)
                rows = second.added_in_parts(sums, first(rows))
            features = rows.joined()
            del rows, sums
            return self._enlarged(features, waiting, tail, last=last)

        return run

    def _enlarged(self, features: Tensor, waiting: list[Tensor | None], tail: Streamed, *, last: bool) -> Tensor:
        """The upsampling and the output layer over a strip.

        Args:
            waiting: the last row that each upsampling was given before, nothing at the top; is updated.
            last: whether the image ends below.
        """

        def row_above(level: int, features: Tensor) -> Tensor | None:
            row, waiting[level] = waiting[level], None if last else features[:, :, -1:].clone()
            return row

        first = waiting[0] is None
        features = F.pad(features, (1, 1, int(first), int(last)))
        above = row_above(0, features)
        for level, upsampling in enumerate([*self.upsampling][:-1], start=1):
            features = upsampling(_below(above, features))
            features = _shuffled(features, above=first, below=last)
            above = row_above(level, features)
        strips = list(self._end(features, above, tail, last=last))
        phases = strips[0] if len(strips) == 1 else torch.cat(strips, dim=2)
        # In float32 in any case: near white the steps of a bfloat16 are as wide as an 8-bit file's.
        sr = F.pixel_shuffle(phases.float().sigmoid_(), 2)
        return sr[:, :, int(first) : sr.shape[2] - int(last), 1:-1]

    def _end(self, features: Tensor, above: Tensor | None, tail: Streamed, *, last: bool) -> Iterator[Tensor]:
        """The last upsampling and the output layer, in phases, in strips from top to bottom.

        Args:
            above: the row above, where the image doesn't begin; put on top of the first strip only, not of all.
        """
        first = above is None
        height = features.shape[2] - int(first)
        count = -(-height // self._strip(features))
        for index in range(count):
            top, bottom = height * index // count, height * (index + 1) // count
            rows = features[:, :, max(top - 1 + int(first), 0) : bottom + int(first)]
            phases = self.upsampling[-1](rows if index else _below(above, rows))
            begins, ends = first and top == 0, last and bottom == height
            _cut_border(phases, above=begins, below=ends)
            if begins and ends:
                yield self._sum_of_rows(self.tail(phases)) if self.by_row else self.tail(phases)
                continue
            given = Rows(None, self.tail.between_rows(phases) if self.by_row else phases, None, ends)
            del phases
            yield from (part for part in tail(given)[:3] if part is not None)

    def _streamed_tail(self) -> Streamed:
        if self.by_row:
            return Streamed(self._sum_of_rows, reach=2 * _RADIUS, padding=_RADIUS)
        return StreamedLayer(self.tail)

    def _sum_of_rows(self, by_row: Tensor) -> Tensor:
        return sum_of_rows(by_row, size=2 * _RADIUS + 1, outputs=12, bias=None)


def _below(above: Tensor | None, features: Tensor) -> Tensor:
    return features if above is None else torch.cat([above, features], dim=2)


def _shuffled(phases: Tensor, *, above: bool, below: bool) -> Tensor:
    """The phases put in place, with a border of zeros: what a transposed convolution with padding 1 would have cut off.

    So the next convolution needs no padding.

    Args:
        above, below: whether the image ends there.
    """
    features = F.pixel_shuffle(phases, 2)
    for border in (features[:, :, : int(above)], features[:, :, features.shape[2] - int(below) :]):
        border.zero_()
    for border in (features[..., 0], features[..., -1]):
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
