"""The inference form of `Johnson`: the same function to rounding error, in fewer and faster steps."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.networks.fast.polyphase import transposed_kernel, unshuffled_kernel, unshuffled_rows
from sr_cli.networks.fast.streaming import Delayed, Rows, Stream, Streamed, StreamedConv
from sr_cli.networks.fast.training_convolutions import rows_of_kernel, sum_of_rows

if TYPE_CHECKING:
    from sr_cli.networks.johnson import Johnson

_RADIUS = 2  # of the output layer, in cells of 2×2 pixels
_STRIP = 16 << 20  # bytes that a strip of phases may take: about what a cache holds
_ROWS = 8  # the fewest rows of a strip


class FusedJohnson(nn.Module):
    """`Johnson` with its BatchNorms folded into the convolutions and its upsampling done on phases.

    The transposed convolutions become 2×2 convolutions, whose phases the last of them leaves as channels. The 9×9
    convolution to 3 channels leaves most of a vector unit idle: on pairs of rows it is one of height 5 from 128
    channels to 6, and its five rows, each by itself, make 30. Both are done in strips, as all phases at once would take
    most of the memory.

    Args:
        network: in eval mode.
        by_row: whether the output layer is done row by row. With matrix units (bfloat16 on AMX, half precision on a
            GPU), which have no trouble with few outputs, one 5×5 convolution from all four phases to all four is
            faster, 7 times on AMX; a vector unit is a tenth faster row by row in bfloat16 too.
    """

    def __init__(self, network: "Johnson", *, by_row: bool = True) -> None:
        super().__init__()
        self.scale, self.width = network.scale, network.width
        self.head = FusedConv(_fold(network.head[0], network.head[1]), "relu")
        self.blocks = nn.ModuleList()
        for block in network.body:
            first, first_norm, _, second, second_norm = block.branch  # type: ignore[misc]
            pair = FusedConv(_fold(first, first_norm), "relu"), FusedConv(_fold(second, second_norm))
            self.blocks.append(nn.ModuleList(pair))
        self.upsampling = nn.ModuleList()
        for level, (convolution, norm, _) in enumerate(network.upsampling, start=1):  # type: ignore[misc]
            fused = _fold(convolution, norm)  # type: ignore[has-type]
            kernel, bias = transposed_kernel(fused.weight), fused.bias.repeat_interleave(4)
            if level == len(network.upsampling):
                kernel, bias = _phases_first(kernel), _phases_first(bias)
            # No padding: `_enlarge` puts a border of zeros around the features.
            self.upsampling.append(FusedConv(_convolution(kernel, bias), "relu"))
        # (tanh(x) + 1) / 2 is the sigmoid of 2x: one pass over the result in place of three.
        assert network.tail.bias is not None
        self.tail = (_RowTail if by_row else _CellTail)(2 * network.tail.weight, 2 * network.tail.bias)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.head(lr)
        for first, second in self.blocks:  # type: ignore[misc]
            features = second.added_to(features, first(features))  # type: ignore[has-type]
        return self._enlarge(features, [None] * len(self.upsampling), self.tail.streamed(), last=True)

    def stream(self) -> Stream:
        """Run over one image that comes in strips."""
        head, tail = StreamedConv(self.head), self.tail.streamed()
        blocks = [(StreamedConv(a), StreamedConv(b), Delayed(lag=2)) for a, b in self.blocks]  # type: ignore[misc, has-type]
        waiting: list[Tensor | None] = [None] * len(self.upsampling)

        def run(lr: Tensor, last: bool) -> Tensor:
            rows = head(Rows(None, lr, None, last))
            for first, second, delayed in blocks:
                totals = delayed(rows)
                rows = second.added_in_parts(totals, first(rows))
            features = rows.joined()
            del rows, totals
            return self._enlarge(features, waiting, tail, last=last)

        return run

    def _enlarge(self, features: Tensor, waiting: list[Tensor | None], tail: Streamed, *, last: bool) -> Tensor:
        """Run the upsampling and the output layer over a strip.

        Args:
            waiting: the last row of each upsampling's previous input, ``None`` at the top; is updated.
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
            features = F.pixel_shuffle(features, 2)  # not in one step, which would keep the previous features in memory
            _zero_border(features, above=first, below=last)
            above = row_above(level, features)
        strips = list(self._output_strips(features, above, tail, last=last))
        phases = strips[0] if len(strips) == 1 else torch.cat(strips, dim=2)
        # Always in float32: near white the steps of a bfloat16 are as wide as an 8-bit file's.
        sr = self.tail.to_pixels(phases.float().sigmoid_())
        return sr[:, :, int(first) : sr.shape[2] - int(last), 1:-1]

    def _output_strips(self, features: Tensor, above: Tensor | None, tail: Streamed, *, last: bool) -> Iterator[Tensor]:
        """Run the last upsampling and the output layer, in phases, in strips from top to bottom.

        Args:
            above: the row above, where the image goes on there; joined to the first strip only, to copy less.
        """
        first = above is None
        height = features.shape[2] - int(first)
        bytes_a_row = len(features) * 4 * self.width * (features.shape[3] - 1) * features.element_size()
        count = -(-height // max(_STRIP // bytes_a_row, _ROWS))
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


def memory(network: "Johnson", height: int, width: int, *, itemsize: int) -> int:
    """See `sr_cli.networks.base.Network.memory`."""
    body = itemsize * network.width * height * width  # the result of an inner convolution
    growth = (network.scale // 2) ** 2
    cells = growth * height * width
    row = 4 * itemsize * network.width * network.scale // 2 * width
    phases = min(4 * itemsize * network.width * cells, max(_STRIP + _STRIP // 4, _ROWS * row))
    upsampling = body + 2 * growth * body if growth > 1 else 4 * body  # once as phases, once as pixels
    return max(upsampling, growth * body + phases + phases // 3 + 2 * 48 * cells)


class _RowTail(nn.Module):
    """The 9×9 output layer on pairs of rows of pixels, each row of its kernel a convolution by itself."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        kernel = unshuffled_rows(weight)
        # The bias belongs to the middle row of the kernel, which never lies on the padding.
        bias = F.pad(bias.repeat(2), [_RADIUS * len(kernel)] * 2)
        kernel = rows_of_kernel(kernel)
        bias = F.pad(bias, (0, len(kernel) - len(bias)))
        self.layer = FusedConv(_convolution(kernel, bias, padding=(_RADIUS, kernel.shape[3] // 2)))

    def forward(self, phases: Tensor) -> Tensor:
        """Run on the whole image; `to_pixels` takes the result."""
        return self._sum(self.layer(_pairs_of_rows(phases)))

    def to_stream(self, phases: Tensor) -> Tensor:
        """A strip of phases as the layer that `streamed` returns takes it."""
        return self.layer.between_rows(_pairs_of_rows(phases))

    def streamed(self) -> Streamed:
        return Streamed(self._sum, reach=2 * _RADIUS, padding=_RADIUS)

    def to_pixels(self, results: Tensor) -> Tensor:
        """Move the pixels to their places: ``(N, 2·C, H, W)``, pairs of rows → ``(N, C, 2·H, W)``."""
        count, channels, height, width = results.shape
        rows = results.permute(0, 2, 3, 1).reshape(count, height, width, 2, channels // 2).transpose(2, 3)
        return rows.reshape(count, 2 * height, width, channels // 2).permute(0, 3, 1, 2)

    def _sum(self, rows: Tensor) -> Tensor:
        return sum_of_rows(rows, size=2 * _RADIUS + 1, outputs=6, bias=None)


class _CellTail(nn.Module):
    """The output layer as a 5×5 convolution from all four phases to all four; its methods are those of `_RowTail`."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        kernel = _phases_first(unshuffled_kernel(weight).transpose(0, 1)).transpose(0, 1)
        self.layer = FusedConv(_convolution(kernel, bias.repeat_interleave(4), padding=(_RADIUS, _RADIUS)))

    def forward(self, phases: Tensor) -> Tensor:
        result: Tensor = self.layer(phases)
        return result

    def to_stream(self, phases: Tensor) -> Tensor:
        return phases

    def streamed(self) -> Streamed:
        return StreamedConv(self.layer)

    def to_pixels(self, results: Tensor) -> Tensor:
        return F.pixel_shuffle(results, 2)


def _below(above: Tensor | None, features: Tensor) -> Tensor:
    return features if above is None else torch.cat([above, features], dim=2)


def _zero_border(features: Tensor, *, above: bool, below: bool) -> None:
    """Zero, in place, what a transposed convolution of padding 1 cuts off: the padding of the next one."""
    ends = [features[:, :, 0]] * above + [features[:, :, -1]] * below
    for border in (features[..., 0], features[..., -1], *ends):
        border.zero_()


def _fold(convolution: Any, norm: Any) -> Any:
    """A convolution with the batch normalization after it."""
    return fuse_conv_bn_eval(convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose2d))


def _convolution(kernel: Tensor, bias: Tensor, *, padding: tuple[int, int] = (0, 0)) -> nn.Conv2d:
    outputs, inputs, *size = kernel.shape
    convolution = nn.Conv2d(inputs, outputs, tuple(size), padding=padding)  # type: ignore[arg-type]
    convolution.weight = nn.Parameter(kernel.detach().clone(), requires_grad=False)
    convolution.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return convolution


def _phases_first(values: Tensor) -> Tensor:
    """Order ``(4·C, …)`` by column of the phase, then row, then channel, in place of a pixel shuffle's order.

    So each phase's channels lie together and can be cut as one, and so do those of a column of pixels.
    """
    return values.reshape(-1, 2, 2, *values.shape[1:]).transpose(0, 2).reshape(values.shape)


def _pairs_of_rows(phases: Tensor) -> Tensor:
    """``(N, 4·C, H, W)``, ordered by `_phases_first` → ``(N, 2·C, H, 2·W)``: two rows of pixels as channels."""
    cells = phases.permute(0, 2, 3, 1)
    return cells.reshape(*cells.shape[:2], 2 * cells.shape[2], -1).permute(0, 3, 1, 2)


def _cut_border(phases: Tensor, *, above: bool, below: bool) -> None:
    """Zero, in place, what a transposed convolution with padding 1 would have cut off: a pixel on every side.

    Args:
        phases: ``(N, 4·C, H, W)``, ordered by `_phases_first`.
        above, below: whether the image ends there.
    """
    left_top, left_bottom, right_top, right_bottom = phases.chunk(4, dim=1)
    for left, right in ((left_top, right_top), (left_bottom, right_bottom)):
        left[..., 0] = right[..., -1] = 0
    if above:
        left_top[:, :, 0] = right_top[:, :, 0] = 0
    if below:
        left_bottom[:, :, -1] = right_bottom[:, :, -1] = 0
