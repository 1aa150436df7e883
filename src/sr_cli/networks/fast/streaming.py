"""Layers over an image that comes in strips, from top to bottom, without halos and without computing a pixel twice.

A convolution cannot give the last rows of a strip before the next strip comes, so each layer lags behind the one
before, and keeps the rows that it will need again. A strip is computed in three parts: the rows that had to wait,
joined with the first of the new ones; the rest, which is by far the most and is never copied; and, at the end of the
image, the rows that its border completes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sr_cli.networks.fast.onednn import FusedConv

Stream = Callable[[Tensor, bool], Tensor]
"""Maps a strip of an image, and whether it is the last, to the rows of the result that are known by then.

``(1, 3, h, w)`` → ``(1, 3, scale·g, scale·w)``. Strips come from top to bottom and are taller than twice the halo.
"""


class Rows(NamedTuple):
    """Consecutive rows of an image or of features, each part ``(1, C, h, W)``.

    Attributes:
        before: those that waited; ``None`` in the first layer.
        main: most of them.
        after: those that the end of the image completed; ``None`` before it, and in the first layer.
        last: whether the image ends here.
    """

    before: Tensor | None
    main: Tensor
    after: Tensor | None
    last: bool

    def joined(self) -> Tensor:
        """All of them, in one piece."""
        return _join(self.before, self.main, self.after)


class Streamed:
    """A layer over strips that are taller than ``reach``, of an image padded by rows of zeros above and below.

    Args:
        function: ``(1, C, h + reach, W)`` → ``(1, D, h, W')``.
        reach: how many rows fewer it returns than it is given.
        padding: how many rows of zeros the image is padded by.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], *, reach: int, padding: int) -> None:
        self.function, self.reach, self.padding = function, reach, padding
        self._kept: Tensor | None = None

    def __call__(self, rows: Rows) -> Rows:
        before, main, after = self.parts(rows)
        end = None if after is None else self.function(after)
        return Rows(self.function(before), self.function(main), end, rows.last)

    def parts(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor | None]:
        """The inputs of `function`, one after the other; the last one at the end of the image only."""
        main, reach = rows.main, self.reach
        border = _zeros(main, self.padding)
        kept = border if self._kept is None else self._kept
        end = main[:, :, main.shape[2] - reach :]
        self._kept = None if rows.last else end.clone()
        before = _join(kept, rows.before, main[:, :, :reach])
        return before, main, _join(end, rows.after, border) if rows.last else None


class StreamedConv(Streamed):
    """A convolution over strips."""

    def __init__(self, layer: FusedConv) -> None:
        super().__init__(layer.between_rows, reach=layer.weight.shape[2] - 1, padding=layer.padding[0])
        self.layer = layer

    def added_in_parts(self, totals: Rows, rows: Rows) -> Rows:
        """Add the result to other rows, which come in the same parts, in place."""
        for total, part in zip(totals[:3], self.parts(rows), strict=True):
            if total is not None and part is not None:
                self.layer.added_to(total, part, between_rows=True)
        return totals

    def added_to(self, total: Tensor, rows: Rows) -> Tensor:
        """Add the result to as many rows in one piece, in place."""
        top = 0
        for part in self.parts(rows):
            if part is not None:
                bottom = top + part.shape[2] - self.reach
                self.layer.added_to(total[:, :, top:bottom], part, between_rows=True)
                top = bottom
        return total


class Delayed:
    """Delay rows by ``lag``, the sum of the paddings of a branch of layers beside them, and cut them as that does."""

    def __init__(self, lag: int) -> None:
        self.lag = lag
        self._kept: Tensor | None = None

    def __call__(self, rows: Rows) -> Rows:
        main, lag = rows.main, self.lag
        before = _join(self._kept, rows.before, main[:, :, :lag])
        end = main[:, :, main.shape[2] - lag :]
        self._kept = None if rows.last else end.clone()
        after = _join(end, rows.after) if rows.last else None
        return Rows(before, main[:, :, lag : main.shape[2] - lag], after, rows.last)


def _join(*parts: Tensor | None) -> Tensor:
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else torch.cat(present, dim=2).contiguous(memory_format=torch.channels_last)


def _zeros(like: Tensor, rows: int) -> Tensor:
    count, channels, _, width = like.shape
    return like.new_zeros(count, rows, width, channels).permute(0, 3, 1, 2)
