"""Layers over an image that comes in strips, from top to bottom: no strip is shown a halo, nothing is computed twice.

A convolution can't give the last rows of a strip before the next one comes, so each layer lags behind the one before,
and keeps what it will need again. A strip is computed in three parts: the rows that had to wait, which are put together
with the first of the new ones; the rest, which is by far the most and is never copied; and, where the image ends, what
its border still owes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sr_cli.networks.fast.onednn import Layer


class Rows(NamedTuple):
    """Consecutive rows of an image or of features, each part ``(1, C, h, W)``.

    Attributes:
        before: those that waited; nothing in the first layer.
        main: most of them.
        after: those that the end of the image gave; nothing in the first layer.
        last: whether the image ends here.
    """

    before: Tensor | None
    main: Tensor
    after: Tensor | None
    last: bool

    def joined(self) -> Tensor:
        """All of them, in one piece."""
        return _joined(self.before, self.main, self.after)


class Streamed:
    """A layer over strips, the image padded by rows of zeros above and below.

    Args:
        function: ``(1, C, h + reach, W)`` → ``(1, D, h, W')``.
        reach: how many rows more it is given than it returns.
        padding: how many rows of zeros the image is padded by.

    The strips must be taller than ``reach``.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], *, reach: int, padding: int) -> None:
        self.function, self.reach, self.padding = function, reach, padding
        self._kept: Tensor | None = None

    def __call__(self, rows: Rows) -> Rows:
        before, main, after = (None if part is None else self.function(part) for part in self.parts(rows))
        assert main is not None
        return Rows(before, main, after, rows.last)

    def parts(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """What `function` is to be given, one after the other, the last only where the image ends."""
        main, reach = rows.main, self.reach
        border = _zeros(main, self.padding)
        kept = border if self._kept is None else self._kept
        end = main[:, :, main.shape[2] - reach :]
        self._kept = None if rows.last else end.clone()
        before = _joined(kept, rows.before, main[:, :, :reach])
        return before, main, _joined(end, rows.after, border) if rows.last else None


class StreamedLayer(Streamed):
    """A convolution over strips."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.between_rows, reach=layer.weight.shape[2] - 1, padding=layer.padding[0])
        self.layer = layer

    def added_in_parts(self, sums: Rows, rows: Rows) -> Rows:
        """The result added to other rows, which come in the same parts, in place."""
        before, main, after = (
            None if sum_ is None or part is None else self.layer.added_to(sum_, part, between_rows=True)
            for sum_, part in zip(sums[:3], self.parts(rows), strict=True)
        )
        assert main is not None
        return Rows(before, main, after, rows.last)

    def added_to(self, sum_: Tensor, rows: Rows) -> Tensor:
        """The result added to as many rows in one piece, in place."""
        top = 0
        for part in self.parts(rows):
            if part is not None:
                bottom = top + part.shape[2] - self.reach
                self.layer.added_to(sum_[:, :, top:bottom], part, between_rows=True)
                top = bottom
        return sum_


class Delayed:
    """Rows as late, and in the same parts, as they come out of a branch of layers beside it.

    Args:
        lag: the sum of the branch's paddings, whose reaches are twice that.
    """

    def __init__(self, lag: int) -> None:
        self.lag = lag
        self._kept: Tensor | None = None

    def __call__(self, rows: Rows) -> Rows:
        main, lag = rows.main, self.lag
        before = _joined(self._kept, rows.before, main[:, :, :lag])
        end = main[:, :, main.shape[2] - lag :]
        self._kept = None if rows.last else end.clone()
        after = _joined(end, rows.after) if rows.last else None
        return Rows(before, main[:, :, lag : main.shape[2] - lag], after, rows.last)


def _joined(*parts: Tensor | None) -> Tensor:
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else torch.cat(present, dim=2).contiguous(memory_format=torch.channels_last)


def _zeros(like: Tensor, rows: int) -> Tensor:
    count, channels, _, width = like.shape
    return like.new_zeros(count, rows, width, channels).permute(0, 3, 1, 2)
