"""Color corrections bring LR's colors back, and do the same in strips as in one piece."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sr_cli.imageops.resize import resize
from sr_cli.upscaling.color_match import match_histogram, match_low_frequencies

MATCHES = [match_low_frequencies, match_histogram]


@pytest.fixture
def lr(photo):
    return photo


@pytest.fixture
def sr(photo):
    """Upscaled, but too dark, too red, and with noise that is to stay."""
    noise = 0.02 * torch.randn(1, 3, 240, 336, generator=torch.Generator().manual_seed(0))
    large = resize(photo, (240, 336)).clamp(0, 1)
    return (large * torch.tensor([0.9, 0.7, 0.7]).view(1, 3, 1, 1) + noise).clamp(0, 1)


def matched(match, sr, lr, heights=(240,)):
    strips, top = [], 0
    while top < sr.shape[-2]:
        strips.append(sr[..., top : top + heights[len(strips) % len(heights)], :].clone())
        top += strips[-1].shape[-2]
    return torch.cat(list(match(iter(strips), lambda rows: lr[..., rows, :], lr.shape[-2:], scale=4)), dim=-2)


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("heights", [(4,), (40, 8, 112), (96, 144)])
def test_strips_make_no_difference(match, heights, sr, lr):
    torch.testing.assert_close(matched(match, sr, lr, heights), matched(match, sr, lr), atol=2e-5, rtol=0)


@pytest.mark.parametrize("match", MATCHES)
def test_colors_come_back(match, sr, lr):
    """The blurred result is that of LR again."""
    corrected = matched(match, sr, lr)
    before, after = ((F.avg_pool2d(each, 40) - F.avg_pool2d(lr, 10)).abs().mean() for each in (sr, corrected))
    assert after < before / 4


def test_low_frequencies_give_the_mean_of_lr_whatever_is_at_the_border(sr, lr):
    sr, lr = (0.5 + 0.2 * (each - 0.5) for each in (sr, lr))  # nothing to be cut off at 0 and 1
    sr[..., :4] -= 0.2  # a dark frame
    corrected = resize(matched(match_low_frequencies, sr, lr), (60, 84))
    torch.testing.assert_close(corrected.mean((2, 3)), lr.mean((2, 3)), rtol=0, atol=2e-4)


def test_low_frequencies_leave_details_alone(sr, lr):
    change = matched(match_low_frequencies, sr, lr) - sr
    inside = change[..., 8:-8, 8:-8]
    assert inside.diff(dim=-1).abs().mean() < 0.1 * sr.diff(dim=-1).abs().mean()


def test_what_needs_no_correction_gets_none(lr):
    """What becomes LR when it is reduced stays as it is, up to its border."""
    large = resize(lr, (240, 336)).clamp(0, 1)
    large[..., :5] = 0  # a frame
    torch.testing.assert_close(matched(match_low_frequencies, large, resize(large, (60, 84))), large, atol=1e-6, rtol=0)


def test_histograms_become_those_of_lr(sr, lr):
    corrected = matched(match_histogram, sr, lr)
    shares = np.linspace(0.02, 0.98, 25)
    for channel in range(3):
        result, wanted = (np.quantile(each[0, channel].numpy(), shares) for each in (corrected, lr))
        assert np.abs(result - wanted).max() < 0.03


@pytest.mark.parametrize("match", MATCHES)
def test_one_pixel(match):
    result = matched(match, torch.full((1, 3, 4, 4), 0.25), torch.full((1, 3, 1, 1), 0.75), (4,))
    torch.testing.assert_close(result, torch.full((1, 3, 4, 4), 0.75), atol=1e-4, rtol=0)
