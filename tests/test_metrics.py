"""PSNR and SSIM against scikit-image, and what every caller may rely on."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from sr_cli.color import luma
from sr_cli.metrics import psnr, ssim


@pytest.fixture
def hr() -> Tensor:
    """Two smooth pictures, ``(2, 3, 48, 64)``, 8 bit."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(2, 3, 6, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear").mul(255).round().div(255)


@pytest.fixture
def sr(hr: Tensor) -> Tensor:
    noise = torch.randn(hr.shape, generator=torch.Generator().manual_seed(8))
    return (hr + 0.04 * noise).clamp(0, 1).mul(255).round().div(255)


def pixels(image: Tensor, shave: int) -> np.ndarray:
    """``(H, W, C)`` in [0, 255] of the first picture, shaved."""
    return image[0, :, shave:-shave, shave:-shave].permute(1, 2, 0).double().mul(255).numpy()


def test_rgb_agrees_with_scikit_image(sr, hr):
    a, b = pixels(sr, 4).round(), pixels(hr, 4).round()
    assert psnr(sr, hr, shave=4, channel="rgb")[0].item() == pytest.approx(
        peak_signal_noise_ratio(b, a, data_range=255), abs=1e-4
    )
    expected = structural_similarity(
        b, a, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(sr, hr, shave=4, channel="rgb")[0].item() == pytest.approx(expected, abs=1e-4)


def test_luma_agrees_with_scikit_image(sr, hr):
    a, b = pixels(luma(sr.double()), 3)[..., 0], pixels(luma(hr.double()), 3)[..., 0]
    assert psnr(sr, hr, shave=3)[0].item() == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-4)
    expected = structural_similarity(
        b, a, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(sr, hr, shave=3)[0].item() == pytest.approx(expected, abs=1e-4)


def test_pictures_of_a_batch_are_measured_one_by_one(sr, hr):
    for metric in (psnr, ssim):
        alone = torch.cat([metric(sr[i : i + 1], hr[i : i + 1], shave=4) for i in range(2)])
        torch.testing.assert_close(metric(sr, hr, shave=4), alone)


def test_the_same_picture_is_perfect(hr):
    assert psnr(hr, hr, shave=0).isposinf().all()
    torch.testing.assert_close(ssim(hr, hr, shave=0), torch.ones(2).double())


def test_less_than_half_a_level_does_not_count(hr):
    assert psnr(hr + 0.4 / 255, hr, shave=0, channel="rgb").isposinf().all()


def test_the_border_does_not_count(sr, hr):
    changed = sr.clone()
    changed[..., :4, :] = changed[..., -4:, :] = changed[..., :4] = changed[..., -4:] = 0
    torch.testing.assert_close(psnr(changed, hr, shave=4), psnr(sr, hr, shave=4))


def test_a_file_of_one_channel_is_measured_from_0_to_255(sr, hr):
    sr, hr = sr[:, :1].expand_as(sr), hr[:, :1].expand_as(hr)
    torch.testing.assert_close(psnr(sr, hr, shave=4, channel="grey"), psnr(sr, hr, shave=4, channel="rgb"))
    mapped_gain = 20 * math.log10(255 / 219)
    torch.testing.assert_close(psnr(sr, hr, shave=4), psnr(sr, hr, shave=4, channel="grey") + mapped_gain)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pictures_that_cannot_be_compared_are_refused(metric, sr, hr):
    with pytest.raises(ValueError, match="same size"):
        metric(sr[..., :-1], hr, shave=4)
    with pytest.raises(ValueError, match="shave"):
        metric(sr, hr, shave=24)
