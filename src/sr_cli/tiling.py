"""Tiles: geometry as data, then the work. With a halo as wide as the receptive field, tiles leave no seam."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """A stretch of rows or columns in LR pixels: ``start`` to ``stop`` is kept, ``seen_…`` is shown to the network."""

    start: int
    stop: int
    seen_start: int
    seen_stop: int

    @property
    def kept(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def seen(self) -> slice:
        return slice(self.seen_start, self.seen_stop)

    def kept_in_seen(self, scale: int) -> slice:
        """The kept stretch within the network's output, in SR pixels."""
        return slice((self.start - self.seen_start) * scale, (self.stop - self.seen_start) * scale)


@dataclass(frozen=True)
class Tile:
    """A rectangle of the LR image."""

    rows: Span
    columns: Span


def plan_tiles(height: int, width: int, *, size: int | None, halo: int) -> list[Tile]:
    """Cover an image by tiles of about equal size, row by row from the top left.

    Args:
        height: of the LR image, in pixels.
        width: of the LR image, in pixels.
        size: largest side of what a tile keeps, in LR pixels; ``None`` for one tile over everything.
        halo: LR pixels that the network sees around a tile, as far as the image goes.

    Raises:
        ValueError: ``size`` is below 1.
    """
    if size is not None and size < 1:
        raise ValueError(f"tile size must be 1 or more, not {size}")
    rows, columns = (_spans(length, size or length, halo) for length in (height, width))
    return [Tile(row, column) for row in rows for column in columns]


def _spans(length: int, size: int, halo: int) -> list[Span]:
    count = -(-length // size)
    edges = [length * i // count for i in range(count + 1)]
    return [Span(start, stop, max(0, start - halo), min(length, stop + halo)) for start, stop in pairwise(edges)]


def upscale_tiles(
    network: Callable[[Tensor], Tensor], lr: Tensor, *, scale: int, halo: int, size: int | None
) -> Iterator[tuple[Tile, Tensor]]:
    """Run the network over the tiles of an image.

    Args:
        network: ``(N, 3, h, w)`` → ``(N, 3, scale·h, scale·w)``.
        lr: ``(N, 3, H, W)`` in [0, 1].
        scale: the network's.
        halo: the network's.
        size: see `plan_tiles`.

    Yields:
        Each tile with its part of the result, ``(N, 3, scale·h, scale·w)`` in [0, 1].
    """
    for tile in plan_tiles(*lr.shape[-2:], size=size, halo=halo):
        sr = network(lr[..., tile.rows.seen, tile.columns.seen])
        yield tile, sr[..., tile.rows.kept_in_seen(scale), tile.columns.kept_in_seen(scale)].clamp(0, 1)


def upscale_tiled(
    network: Callable[[Tensor], Tensor], lr: Tensor, *, scale: int, halo: int, size: int | None
) -> Tensor:
    """`upscale_tiles`, put together: ``(N, 3, scale·H, scale·W)`` in [0, 1], equal to the network's untiled output."""
    count, _, height, width = lr.shape
    result = torch.empty(count, 3, scale * height, scale * width, device=lr.device)
    for tile, sr in upscale_tiles(network, lr, scale=scale, halo=halo, size=size):
        rows, columns = tile.rows, tile.columns
        result[..., rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale] = sr
    return result
