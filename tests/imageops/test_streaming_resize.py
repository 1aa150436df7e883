"""What is resized row by row equals what is resized as a whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sr_cli.imageops.resize import resize
from sr_cli.imageops.streaming_resize import bicubic_weights, blur_weights, resize_strips


def cut(picture, sizes):
    """The picture in strips of these heights, again and again."""
    top, i = 0, 0
    while top < picture.shape[-2]:
        yield picture[..., top : top + sizes[i % len(sizes)], :]
        top, i = top + sizes[i % len(sizes)], i + 1


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    wanted=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_strips_make_no_difference(shape, wanted, sizes):
    picture = torch.rand(1, 3, *shape)
    strips = list(resize_strips(cut(picture, sizes), shape, wanted))
    whole = list(resize_strips([picture], shape, wanted))
    assert torch.cat(strips, dim=-2).shape == (1, 3, *wanted)
    torch.testing.assert_close(torch.cat(strips, dim=-2), torch.cat(whole, dim=-2))


@pytest.mark.parametrize("wanted", [(12, 18), (8, 12), (48, 72), (96, 144)])
def test_whole_ratios_are_those_of_resize(wanted):
    picture = torch.rand(1, 3, 24, 36)
    result = torch.cat(list(resize_strips([picture], (24, 36), wanted)), dim=-2)
    torch.testing.assert_close(result, resize(picture, wanted), atol=1e-5, rtol=0)


def test_fractional_ratios_are_antialiased():
    picture = torch.rand(1, 1, 60, 70)
    result = torch.cat(list(resize_strips([picture], (60, 70), (25, 33))), dim=-2)
    library = F.interpolate(picture, size=(25, 33), mode="bicubic", antialias=True)
    torch.testing.assert_close(result[..., 3:-3, 3:-3], library[..., 3:-3, 3:-3], atol=1e-4, rtol=0)


def test_weights_keep_flat_areas_flat():
    for resampling in (bicubic_weights(7, 23), bicubic_weights(23, 7), blur_weights(5, 4.0)):
        torch.testing.assert_close(resampling.weight.sum(1), torch.ones(len(resampling.weight)))


@pytest.mark.parametrize("length", [1, 2, 5, 13, 40])
def test_a_blur_keeps_the_mean(length):
    """Every value counts as often as any other, those at the ends too."""
    line = torch.rand(1, 1, length, dtype=torch.float64)
    blurred = blur_weights(length, 4.0).apply(line, dim=-1)
    torch.testing.assert_close(blurred.mean(), line.mean(), rtol=1e-6, atol=0)
