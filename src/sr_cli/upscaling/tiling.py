"""Tiles: geometry as data, then the work.

With a halo as wide as the receptive field, tiles leave no seam: the result is the untiled one. Tiles of networks whose
receptive field has no bounds overlap and are blended.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sr_cli.networks.base import Geometry

if TYPE_CHECKING:
    from sr_cli.upscaling.runner import Runner


@dataclass(frozen=True)
class Span:
    """A stretch of rows or columns in LR pixels, out of ``length`` of them."""

    start: int
    stop: int
    length: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def widened(self, margin: int) -> slice:
        """The stretch with ``margin`` more on both sides, as far as the image goes."""
        return slice(max(0, self.start - margin), min(self.length, self.stop + margin))

    def cut(self, size: int) -> list["Span"]:
        """Pieces of about equal length, none of them longer than ``size``."""
        count = max(1, -(-self.size // size))
        edges = [self.start + self.size * i // count for i in range(count + 1)]
        return [Span(start, stop, self.length) for start, stop in pairwise(edges)]


@dataclass(frozen=True)
class Tile:
    """A rectangle of the LR image."""

    rows: Span
    columns: Span

    def cut(self, height: int, width: int) -> list[list["Tile"]]:
        """Smaller tiles of at most ``height`` × ``width``: rows of tiles, from the top left."""
        return [[Tile(rows, columns) for columns in self.columns.cut(width)] for rows in self.rows.cut(height)]


class TileTooLarge(Exception):  # noqa: N818
    """Out of memory: retry. The network has already reduced its ``tile`` or moved to the CPU."""


def upscale_strips(
    network: "Runner",
    lr: Callable[[slice], Tensor],
    shape: tuple[int, int],
    *,
    top: int = 0,
    on_tile: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Tensor]:
    """Upscale an image from top to bottom, a row of tiles at a time, in the memory that one such row takes.

    Args:
        lr: returns rows of the image, ``(N, 3, h, W)`` in [0, 1].
        shape: height and width of the LR image.
        top: the first row to upscale; 0 for tiles that are blended.
        on_tile: called after each tile with the number of tiles done and their count.

    Yields:
        ``(N, 3, scale·h, scale·W)`` strips in [0, 1] that make up the result, from top to bottom.
    """
    scale, blend = network.geometry.scale, network.geometry.blend
    height, width = shape
    plan = Tile(Span(top, height, height), Span(0, width, width)).cut(*(_largest(network) or shape))
    count, done = sum(map(len, plan)), 0
    carried: Tensor | None = None

    def upscale(tile: Tile, source: Tensor, top: int) -> Tensor:
        nonlocal done
        sr = _upscale(network, source, tile, top=top)
        done += 1
        on_tile(done, count)
        return sr

    for tiles in plan:
        rows = tiles[0].rows
        seen = rows.widened(blend + network.geometry.halo)
        source = lr(seen)
        parts = (upscale(tile, source, seen.start) for tile in tiles)
        strip = _join(parts, [tile.columns for tile in tiles], network.geometry, dim=-1)
        if carried is not None:
            _fade(strip, carried, dim=-2)
        final = (rows.stop - blend if rows.stop < rows.length else rows.stop) - rows.widened(blend).start
        carried = strip[..., final * scale :, :].clone() if rows.stop < rows.length and blend else None
        yield strip[..., : final * scale, :]
        del strip  # or it would still be there while the next one is made


def upscale_whole(network: "Runner", lr: Tensor) -> Tensor:
    """`upscale_strips`, joined: ``(N, 3, H, W)`` → ``(N, 3, scale·H, scale·W)`` in [0, 1]."""
    height, width = lr.shape[-2:]
    scale = network.geometry.scale
    strips = upscale_strips(network, lambda rows: lr[..., rows, :], (height, width))
    return put_together(strips, (*lr.shape[:2], scale * height, scale * width))


def put_together(strips: Iterator[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Join strips, from top to bottom, into an image of that shape."""
    result = torch.empty(shape)
    top = 0
    for strip in strips:
        result[..., top : top + strip.shape[-2], :] = strip
        top += strip.shape[-2]
    return result


def _upscale(network: "Runner", source: Tensor, tile: Tile, *, top: int) -> Tensor:
    """Upscale a tile and its blended zones, in smaller tiles if memory runs out; ``source`` begins with row ``top``."""
    geometry = network.geometry
    pieces = tile.cut(*(_largest(network) or (tile.rows.size, tile.columns.size)))
    if len(pieces) > 1 or len(pieces[0]) > 1:
        columns = [piece.columns for piece in pieces[0]]
        strips = (
            _join((_upscale(network, source, piece, top=top) for piece in row), columns, geometry, dim=-1)
            for row in pieces
        )
        return _join(strips, [row[0].rows for row in pieces], geometry, dim=-2)
    spans = (tile.rows, tile.columns)
    rows, columns_seen = seen = [span.widened(geometry.blend + geometry.halo) for span in spans]
    try:
        sr = network(source[..., rows.start - top : rows.stop - top, columns_seen])
    except TileTooLarge:
        return _upscale(network, source, tile, top=top)
    down, across = (
        slice((kept.start - shown.start) * geometry.scale, (kept.stop - shown.start) * geometry.scale)
        for kept, shown in zip([span.widened(geometry.blend) for span in spans], seen, strict=True)
    )
    return sr[..., down, across]


def _largest(network: "Runner") -> tuple[int, int] | None:
    """The network's tile, though never too small to be blended."""
    smallest = network.geometry.smallest
    return network.tile and (max(network.tile[0], smallest), max(network.tile[1], smallest))


def _join(parts: Iterator[Tensor], spans: Sequence[Span], geometry: Geometry, *, dim: int) -> Tensor:
    """Join neighbors, blended where they overlap; each part is freed before the next is asked for."""
    if len(spans) == 1:
        return next(parts)
    slices = [span.widened(geometry.blend) for span in spans]
    first = slices[0].start
    result: Tensor | None = None
    filled = 0
    for span in slices:
        part = next(parts)
        if result is None:
            shape = list(part.shape)
            shape[dim] = (slices[-1].stop - first) * geometry.scale
            result = part.new_empty(shape)
        start = (span.start - first) * geometry.scale
        if filled > start:
            part = part.contiguous()
            _fade(part, result.narrow(dim, start, filled - start), dim=dim)
        result.narrow(dim, start, part.shape[dim]).copy_(part)
        filled = start + part.shape[dim]
        del part
    assert result is not None
    return result


def _fade(part: Tensor, before: Tensor, *, dim: int) -> None:
    """Let ``part`` begin as ``before`` and become itself, in place."""
    length = before.shape[dim]
    ramp = (torch.arange(length, dtype=part.dtype) + 0.5) / length
    ramp = ramp.view(-1, *[1] * (-dim - 1))
    overlap = part.narrow(dim, 0, length)
    overlap.copy_(before + (overlap - before) * ramp)
