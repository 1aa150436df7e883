"""The chosen tiles fit into memory, whatever the image, the network and the memory are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sr_cli.networks.base import Geometry
from sr_cli.upscaling.tile_size import BUDGET, Memory, choose_tile, overhead, shortest_strip, smallest_tile

sides = st.integers(1, 6000)
geometries = st.builds(Geometry, scale=st.integers(1, 8), halo=st.integers(0, 30), blend=st.integers(0, 16))


def memory_of(geometry, bytes_per_pixel, free, *, shared=True):
    return Memory(geometry, lambda height, width: bytes_per_pixel * max(0, height) * max(0, width), free, shared)


@settings(deadline=None, max_examples=60)
@given(
    height=sides, width=sides, geometry=geometries, bytes_per_pixel=st.integers(1, 20_000), shared=st.booleans(),
    free=st.none() | st.integers(1 << 24, 1 << 36), streams=st.booleans(), limit=st.none() | st.integers(64, 2000),
)  # fmt: skip
def test_tiles_fit_or_are_the_smallest(height, width, geometry, bytes_per_pixel, shared, free, streams, limit):
    memory = memory_of(geometry, bytes_per_pixel, free, shared=shared)
    tile = choose_tile(height, width, memory, streams=streams, limit=limit)
    if tile is None:  # no halo around the whole image
        least = 32 if limit is None else min(32, limit)
        seen = (height - geometry.margin, width - geometry.margin)
        assert max(height, width) <= least or memory.fits(*seen, image_width=width, budget=4 * BUDGET)
        return
    strip = streams and tile[1] == width and tile[0] >= shortest_strip(geometry)
    seen = (tile[0] - geometry.margin, tile[1] - geometry.margin) if strip else tile
    smallest = smallest_tile(geometry)
    assert tile == (smallest, smallest) or memory.fits(*seen, image_width=width, budget=4 * BUDGET)
    assert strip or max(tile) <= max(smallest, limit or 1024)


@given(height=sides, width=sides, geometry=geometries, tile=st.tuples(sides, sides))
def test_only_tiles_cost_anything(height, width, geometry, tile):
    assert overhead((height, width), height, width, geometry) == 1
    assert overhead(tile, height, width, geometry) >= 1


@settings(deadline=None)
@given(geometry=geometries, bytes_per_pixel=st.integers(1, 20_000))
@pytest.mark.slow
def test_a_network_that_streams_gets_strips_of_a_large_image(geometry, bytes_per_pixel):
    memory = memory_of(geometry, bytes_per_pixel, None)
    tile = choose_tile(6000, 1500, memory, streams=True)
    assert (
        tile is None
        or tile[1] == 1500
        or not memory.fits(
            shortest_strip(geometry) - geometry.margin, 1500 - geometry.margin, image_width=1500, budget=BUDGET
        )
    )
