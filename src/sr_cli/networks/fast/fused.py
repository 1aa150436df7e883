"""The inference form of the networks: the same function to rounding error, in fewer and faster steps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sr_cli.networks.compact import NEGATIVE_SLOPE, Compact, bicubic_phases
from sr_cli.networks.fast.onednn import Layer
from sr_cli.networks.fast.polyphase import transposed_kernel, unshuffled_kernel, unshuffled_rows
from sr_cli.networks.fast.streaming import Delayed, Rows, Streamed, StreamedLayer
from sr_cli.networks.fast.training_convolutions import rows_of_kernel, sum_of_rows
from sr_cli.networks.johnson import Johnson, ResidualBlock

Stream = Callable[[Tensor, bool], Tensor]
"""Maps a strip of an image, and whether it is the last, to the rows of the result that can be known by now.

``(1, 3, h, w)`` → ``(1, 3, scale·g, scale·w)``. Strips come from top to bottom and are taller than twice the halo.
"""

_SKIP = 2  # radius of the bicubic skip, in LR pixels
_RADIUS = 2  # of the output layer, in cells of 2×2 pixels
_STRIP = 16 << 20  # bytes that a strip of phases may take: about what a cache holds
_ROWS = 8  # the fewest rows of a strip


class FusedCompact(nn.Module):
    """`Compact` whose activations belong to its convolutions, and whose skip is added by the last of them."""

    keep_in_float32 = ("bicubic",)
    """In half precision only what the network adds is rounded: the eight bits of a bfloat16 show in a clear sky."""

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


class FusedJohnson(nn.Module):
    """`Johnson` with its BatchNorms folded into the convolutions and its upsampling done on phases.

    The transposed convolutions become 2×2 convolutions. The phases of the last one are not put in place. The 9×9
    convolution to 3 channels leaves most of a vector unit idle: on pairs of rows it is one of height 5 from 128
    channels to 6, and its five rows, each by itself, make 30. Both are done in strips, as all phases at once would take
    most of the memory.

    Args:
        network: in eval mode.
        by_row: whether the output layer is done row by row. With matrix units (bfloat16 on AMX, half precision on a
            GPU), which take few outputs in their stride, one 5×5 convolution from all four phases to all four is
            faster, 7 times on AMX; a vector unit is a tenth faster row by row in bfloat16 too.
    """

    def __init__(self, network: Johnson, *, by_row: bool = True) -> None:
        super().__init__()
        self.scale = network.scale
        self.head = Layer(_fuse(network.head[0], network.head[1]), "relu")
        self.blocks = nn.ModuleList(_fuse_block(block) for block in network.body)  # type: ignore[arg-type]
        self.upsampling = nn.ModuleList()
        for level, (convolution, norm, _) in enumerate(network.upsampling):  # type: ignore[misc]
            fused = _fuse(convolution, norm)  # type: ignore[has-type]
            kernel, bias = transposed_kernel(fused.weight), fused.bias.repeat_interleave(4)
            if level == len(network.upsampling) - 1:
                kernel, bias = _phases_first(kernel), _phases_first(bias)
            # Padding is the border of zeros that is there before, see `_enlarged`.
            self.upsampling.append(Layer(_convolution(kernel, bias), "relu"))
        # (tanh(x) + 1) / 2 is the sigmoid of 2x: one pass over the result in place of three.
        assert network.tail.bias is not None
        self.tail = (_RowTail if by_row else _CellTail)(2 * network.tail.weight, 2 * network.tail.bias)

    def _strip(self, features: Tensor) -> int:
        """How many rows of phases are computed at once."""
        bytes_a_row = len(features) * 4 * Johnson.width * (features.shape[3] - 1) * features.element_size()
        return max(_STRIP // bytes_a_row, _ROWS)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.head(lr)
        for first, second in self.blocks:  # type: ignore[misc]
            features = second.added_to(features, first(features))  # type: ignore[has-type]
        return self._enlarged(features, [None] * len(self.upsampling), self.tail.streamed(), last=True)

    def stream(self) -> Stream:
        """The network over one image that comes in strips."""
        head, tail = StreamedLayer(self.head), self.tail.streamed()
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
        sr = self.tail.in_place(phases.float().sigmoid_())
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
                yield self.tail(phases)
                continue
            given = Rows(None, self.tail.to_stream(phases), None, ends)
            del phases
            yield from (part for part in tail(given)[:3] if part is not None)


class _RowTail(nn.Module):
    """The output layer on pairs of rows of pixels, each row of its kernel a convolution by itself.

    Args:
        weight, bias: of the 9×9 convolution.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        kernel = unshuffled_rows(weight)
        # The bias belongs to the middle row of the kernel, which never lies on the padding.
        bias = F.pad(bias.repeat(2), [_RADIUS * len(kernel)] * 2)
        kernel = rows_of_kernel(kernel)
        bias = F.pad(bias, (0, len(kernel) - len(bias)))
        self.layer = Layer(_convolution(kernel, bias, padding=(_RADIUS, kernel.shape[3] // 2)))

    def forward(self, phases: Tensor) -> Tensor:
        """The whole image, as `in_place` takes it."""
        return self._sum(self.layer(_pairs_of_rows(phases)))

    def to_stream(self, phases: Tensor) -> Tensor:
        """What the layer that `streamed` gives is to be given, for a strip of phases."""
        return self.layer.between_rows(_pairs_of_rows(phases))

    def streamed(self) -> Streamed:
        return Streamed(self._sum, reach=2 * _RADIUS, padding=_RADIUS)

    def in_place(self, results: Tensor) -> Tensor:
        """The pixels, each in its place."""
        return _separated(results)

    def _sum(self, rows: Tensor) -> Tensor:
        return sum_of_rows(rows, size=2 * _RADIUS + 1, outputs=6, bias=None)


class _CellTail(nn.Module):
    """The output layer as a 5×5 convolution from all four phases to all four; methods as of `_RowTail`."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        kernel = _phases_first(unshuffled_kernel(weight).transpose(0, 1)).transpose(0, 1)
        self.layer = Layer(_convolution(kernel, bias.repeat_interleave(4), padding=(_RADIUS, _RADIUS)))

    def forward(self, phases: Tensor) -> Tensor:
        result: Tensor = self.layer(phases)
        return result

    def to_stream(self, phases: Tensor) -> Tensor:
        return phases

    def streamed(self) -> Streamed:
        return StreamedLayer(self.layer)

    def in_place(self, results: Tensor) -> Tensor:
        return F.pixel_shuffle(results, 2)


def memory_of_johnson(height: int, width: int, *, doublings: int, channels: int, itemsize: int) -> int:
    """See `sr_cli.networks.base.Network.memory`."""
    body = itemsize * channels * height * width  # what an inner convolution gives
    growth: int = 4 ** (doublings - 1)
    cells = growth * height * width
    row: int = 4 * itemsize * channels * 2 ** (doublings - 1) * width
    phases = min(4 * itemsize * channels * cells, max(_STRIP + _STRIP // 4, _ROWS * row))
    upsampling = body + 2 * growth * body if growth > 1 else 4 * body  # once as phases, once in place
    return max(upsampling, growth * body + phases + phases // 3 + 2 * 48 * cells)


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


def _fuse_block(block: ResidualBlock) -> nn.ModuleList:
    first, first_norm, _, second, second_norm = block.branch
    return nn.ModuleList([Layer(_fuse(first, first_norm), "relu"), Layer(_fuse(second, second_norm))])


def _fuse(convolution: nn.Module, norm: nn.Module) -> Any:
    assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose2d))


def _convolution(kernel: Tensor, bias: Tensor, *, padding: tuple[int, int] = (0, 0)) -> nn.Conv2d:
    outputs, inputs, *size = kernel.shape
    convolution = nn.Conv2d(inputs, outputs, tuple(size), padding=padding)  # type: ignore[arg-type]
    convolution.weight = nn.Parameter(kernel.detach().clone(), requires_grad=False)
    convolution.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return convolution


def _phases_first(values: Tensor) -> Tensor:
    """``(4·C, …)``, ordered as for a pixel shuffle, by column of the phase, then row, then channel.

    So each phase's channels lie together and can be cut as one, and so do those of a column of pixels.
    """
    return values.reshape(-1, 2, 2, *values.shape[1:]).transpose(0, 2).reshape(values.shape)


def _pairs_of_rows(phases: Tensor) -> Tensor:
    """``(N, 4·C, H, W)`` as `_phases_first` orders them → ``(N, 2·C, H, 2·W)``: two rows of pixels as channels."""
    cells = phases.permute(0, 2, 3, 1)
    return cells.reshape(*cells.shape[:2], 2 * cells.shape[2], -1).permute(0, 3, 1, 2)


def _separated(pairs: Tensor) -> Tensor:
    """``(N, 2·C, H, W)``, pairs of rows → ``(N, C, 2·H, W)``, the rows."""
    count, channels, height, width = pairs.shape
    rows = pairs.permute(0, 2, 3, 1).reshape(count, height, width, 2, channels // 2).transpose(2, 3)
    return rows.reshape(count, 2 * height, width, channels // 2).permute(0, 3, 1, 2)


def _cut_border(phases: Tensor, *, above: bool, below: bool) -> None:
    """Set to zero, in place, what a transposed convolution with padding 1 would have cut off: a pixel on every side.

    Args:
        phases: ``(N, 4·C, H, W)``, as `_phases_first` orders them.
        above, below: whether the image ends there.
    """
    left_top, left_bottom, right_top, right_bottom = phases.chunk(4, dim=1)
    if above:
        left_top[:, :, 0] = right_top[:, :, 0] = 0
    if below:
        left_bottom[:, :, -1] = right_bottom[:, :, -1] = 0
    for left in (left_top, left_bottom):
        left[..., 0] = 0
    for right in (right_top, right_bottom):
        right[..., -1] = 0
