"""Tiles cover the image, and what comes out of them is what comes out of the whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sr_cli.networks.base import Geometry
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tiling import Span, Tile, TileTooLarge, upscale_strips, upscale_whole

ARCHITECTURES = [
    {"name": "compact", "scale": 2, "width": 8, "depth": 2},
    {"name": "compact", "scale": 3, "width": 8, "depth": 1},
    {"name": "compact", "scale": 4, "width": 8, "depth": 3},
    {"name": "compact", "scale": 8, "width": 8, "depth": 2},
    {"name": "gated", "scale": 2, "width": 8, "depth": 5},
    {"name": "johnson", "scale": 2},
    {"name": "johnson", "scale": 4},
    {"name": "johnson", "scale": 8},
]


class Enlarging:
    """Repeats pixels and adds what it says: a stand-in for a network, whose memory ends where a test wants."""

    def __init__(self, geometry: Geometry, tile: tuple[int, int] | None, *, limit: int | None = None) -> None:
        self.geometry, self.tile, self.limit, self.calls = geometry, tile, limit, 0

    def __call__(self, lr: Tensor) -> Tensor:
        if self.limit and max(lr.shape[-2:]) > self.limit:
            self.tile = (max(1, lr.shape[-2] // 2), max(1, lr.shape[-1] // 2))
            raise TileTooLarge
        self.calls += 1
        return F.interpolate(lr, scale_factor=self.geometry.scale, mode="nearest")


def inference(network, *, tile, **more):
    return Runner(network, device=torch.device("cpu"), tile=tile, **more)


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 70), width=st.integers(1, 70), tall=st.integers(1, 80), wide=st.integers(1, 80))
def test_tiles_cover_each_pixel_once(height, width, tall, wide):
    seen = torch.zeros(height, width, dtype=torch.int)
    for row in Tile(Span(0, height, height), Span(0, width, width)).cut(tall, wide):
        for tile in row:
            assert 0 < tile.rows.size <= tall
            assert 0 < tile.columns.size <= wide
            seen[tile.rows.widened(0), tile.columns.widened(0)] += 1
    assert (seen == 1).all()


def test_a_tile_without_pixels_is_refused():
    with pytest.raises(ValueError, match="tile size"):
        inference(Enlarging(Geometry(scale=2, halo=1), None), tile=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"{a['name']}-x{a['scale']}")
@pytest.mark.parametrize(
    ("height", "width", "tile"),
    [
        (1, 1, 1),
        (3, 5, 2),
        (29, 23, 12),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in [(17, 31, 13), (40, 8, 64)]),
    ],
)
def test_tiled_equals_untiled(architecture, height, width, tile, lively):
    network = lively(**architecture)
    lr = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    tiled = upscale_whole(inference(network, tile=tile), lr)
    with torch.no_grad():
        untiled = network(lr).clamp(0, 1)
    torch.testing.assert_close(tiled, untiled, atol=1e-5, rtol=0)


def test_a_halo_that_is_too_small_would_be_noticed(lively):
    network = lively(name="compact", scale=2, width=8, depth=3)
    lr = torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(1))
    small = inference(network, tile=7)
    small.geometry = Geometry(scale=2, halo=1)
    with torch.no_grad():
        assert (upscale_whole(small, lr) - network(lr).clamp(0, 1)).abs().max() > 1e-4


def test_strips_come_in_order_and_make_up_the_whole():
    lr = torch.rand(2, 3, 23, 17)
    network = Enlarging(Geometry(scale=2, halo=3), (5, 4))
    steps = []
    strips = list(upscale_strips(network, lambda rows: lr[..., rows, :], (23, 17), on_tile=lambda *s: steps.append(s)))
    assert len(strips) == 5
    assert steps == [(i, 25) for i in range(1, 26)]
    torch.testing.assert_close(torch.cat(strips, dim=-2), F.interpolate(lr, scale_factor=2.0), atol=0, rtol=0)


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 60), width=st.integers(1, 60), limit=st.integers(9, 40), blend=st.integers(0, 2))
def test_tiles_that_are_too_large_become_smaller_and_leave_no_trace(height, width, limit, blend):
    lr = torch.rand(1, 3, height, width)
    network = Enlarging(Geometry(scale=2, halo=0, blend=blend), None, limit=limit + 4 * blend)
    torch.testing.assert_close(upscale_whole(network, lr), F.interpolate(lr, scale_factor=2.0))


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 90), width=st.integers(1, 90), tile=st.integers(1, 40))
def test_blended_tiles_add_up_to_one(height, width, tile):
    lr = torch.full((1, 3, height, width), 0.7)
    network = Enlarging(Geometry(scale=3, halo=2, blend=4), (tile, tile))
    torch.testing.assert_close(upscale_whole(network, lr), torch.full((1, 3, 3 * height, 3 * width), 0.7))


def test_blending_leaves_no_step():
    """Each tile is shifted by another amount; between them the result changes by small steps only."""

    class Shifting(Enlarging):
        def __call__(self, lr: Tensor) -> Tensor:
            self.calls += 1
            return super().__call__(lr) + 0.1 * (self.calls % 3)

    sr = upscale_whole(Shifting(Geometry(scale=2, halo=4, blend=8), (33, 33)), torch.zeros(1, 3, 100, 100))
    assert sr.max() - sr.min() > 0.1
    assert sr.diff(dim=-1).abs().max() < 0.02
    assert sr.diff(dim=-2).abs().max() < 0.02
