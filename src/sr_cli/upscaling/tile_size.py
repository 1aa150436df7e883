"""The size of tiles and strips: what fits into memory and costs the least work. No work is done here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sr_cli.networks.base import Geometry

BUDGET = 512 << 20
"""Bytes that a row of tiles may take on the CPU, its result included."""

ACCEPTABLE_OVERHEAD, EXCESSIVE_OVERHEAD = 1.1, 1.15
"""Work with tiles over the work without. Above the first a larger budget is tried; above the second, whether the whole
image fits into that."""

SMALLEST = 32
"""Side of the smallest tile that is tried."""

_LARGER_BUDGETS = (2, 4)  # multiples of the budget, for strips and tiles that would be too small
_SHARE = 0.5  # of the free memory: other programs want some too, and estimates err
_LARGEST = 1024  # side of the largest tile that is chosen: beyond, the halo costs next to nothing
_STEP = 16  # between the sides that are tried
_STRIP_MEMORY = 2.2  # memory of a strip over that of a tile: carried rows and concatenation
_ROWS = 8  # rows of a strip that are left to the last layer, at least
_PROBE = 32  # side of the image that shows how much memory a network takes
_LAYERS = 2.0  # a network takes about this many times the largest input and output of one of its layers


@dataclass(frozen=True)
class Memory:
    """The memory that tiles take, and what there is.

    Attributes:
        network: bytes that the network takes on its device for an input of some height and width.
        free: free bytes on the device; ``None`` if unknown.
        shared: whether the results lie in the same memory, as on the CPU.
    """

    geometry: Geometry
    network: Callable[[int, int], int]
    free: int | None
    shared: bool

    def fits(self, height: int, width: int, *, image_width: int, budget: int) -> bool:
        """Whether there is memory for a tile of that size, with its halo, in an image of that width."""
        share = budget if self.free is None else _SHARE * self.free
        network = self.network(height + self.geometry.margin, width + self.geometry.margin)
        result = 12 * self.geometry.scale**2 * height * image_width  # of a row of tiles, in float32
        return network + result <= min(share, budget) if self.shared else network <= share and result <= budget


def choose_tile(
    height: int, width: int, memory: Memory, *, streams: bool = False, limit: int | None = None
) -> tuple[int, int] | None:
    """The height and width of tiles, or of strips; ``None`` if the image fits as it is.

    Networks with a wide halo may take larger budgets, until the halo costs little; an image that fits whole into those,
    and would cost much more in tiles, is not cut.

    Args:
        height, width: of the LR image, in pixels.
        streams: whether the network takes strips, see `sr_cli.networks.fast.streaming`.
        limit: the largest side that a tile may have, where memory has run out before.
    """
    tile = _cheapest_tile(height, width, memory, budget=BUDGET, limit=limit)
    if tile is None:
        return None
    if streams and (limit is None or limit >= width):
        strip = _tallest_strip(height, width, memory)
        if strip:
            return strip
    for times in _LARGER_BUDGETS:
        if tile is None or overhead(tile, height, width, memory.geometry) <= ACCEPTABLE_OVERHEAD:
            break
        larger = _cheapest_tile(height, width, memory, budget=times * BUDGET, limit=limit)
        if larger is None or overhead(tile, height, width, memory.geometry) > EXCESSIVE_OVERHEAD:
            tile = larger
    return tile


def overhead(tile: tuple[int, int], height: int, width: int, geometry: Geometry) -> float:
    """Pixels that the network sees in tiles over those of the image; tiles at the border have a smaller halo."""
    rows, columns = -(-height // tile[0]), -(-width // tile[1])
    return (1 + geometry.margin * (rows - 1) / height) * (1 + geometry.margin * (columns - 1) / width)


def shortest_strip(geometry: Geometry) -> int:
    """Rows of the shortest strip: some must be left to each layer when those before it have taken theirs."""
    return 2 * geometry.halo + _ROWS


def smallest_tile(geometry: Geometry) -> int:
    """Side of the smallest tile that is tried."""
    return max(SMALLEST, geometry.smallest)


def _tallest_strip(height: int, width: int, memory: Memory) -> tuple[int, int] | None:
    """The tallest strips of equal height that fit into the budget, or a larger one; ``None`` if none do."""
    margin = memory.geometry.margin
    for times in (1, *_LARGER_BUDGETS):
        budget = round(times * BUDGET / _STRIP_MEMORY)
        for count in range(2, height // shortest_strip(memory.geometry) + 1):
            rows = -(-height // count)
            if memory.fits(rows - margin, width - margin, image_width=width, budget=budget):  # strips have no halo
                return rows, width
    return None


def _cheapest_tile(
    height: int, width: int, memory: Memory, *, budget: int, limit: int | None
) -> tuple[int, int] | None:
    """The tile with the least overhead that fits into the budget; ``None`` for the whole image."""
    geometry, largest = memory.geometry, min(_LARGEST, limit or _LARGEST)
    longest, margin = max(height, width), geometry.margin
    if longest <= min(largest, _PROBE):
        return None
    whole = memory.fits(height - margin, width - margin, image_width=width, budget=budget)  # it has no halo
    if longest <= largest and whole:
        return None
    smallest = smallest_tile(geometry)
    sides = range(smallest, largest + 1, _STEP)
    shapes = [(h, w) for h in sides for w in sides if memory.fits(h, w, image_width=width, budget=budget)]
    return min(shapes or [(smallest, smallest)], key=lambda tile: overhead(tile, height, width, geometry))


def measure_memory(network: nn.Module) -> float:
    """Bytes per LR pixel that a float32 network takes, estimated from the inputs and outputs of its layers."""
    largest = 0

    def weigh(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        tensors = [each for each in (*inputs, output) if isinstance(each, Tensor)]
        largest = max(largest, sum(each.nbytes for each in tensors))

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(weigh) for leaf in leaves]
    try:
        with torch.no_grad():
            network(torch.rand(1, 3, _PROBE, _PROBE).to(next(network.parameters())))
    finally:
        for hook in hooks:
            hook.remove()
    return _LAYERS * largest / _PROBE**2
