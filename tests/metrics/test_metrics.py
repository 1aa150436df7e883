"""Metrics against scikit-image and piq, and what every caller may rely on."""

import copy
import math

import numpy as np
import pytest
import skimage
import torch
from torch import Tensor

from sr_cli.errors import WeightsError
from sr_cli.imageops.color import luma
from sr_cli.metrics import checkerboard, color_error, color_shift, psnr, sharpness, ssim


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
        skimage.metrics.peak_signal_noise_ratio(b, a, data_range=255), abs=1e-4
    )
    expected = skimage.metrics.structural_similarity(
        b, a, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(sr, hr, shave=4, channel="rgb")[0].item() == pytest.approx(expected, abs=1e-4)


def test_luma_agrees_with_scikit_image(sr, hr):
    a, b = pixels(luma(sr.double()), 3)[..., 0], pixels(luma(hr.double()), 3)[..., 0]
    assert psnr(sr, hr, shave=3)[0].item() == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(b, a, data_range=255), abs=1e-4
    )
    expected = skimage.metrics.structural_similarity(
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
    torch.testing.assert_close(psnr(sr, hr, shave=4, channel="gray"), psnr(sr, hr, shave=4, channel="rgb"))
    mapped_gain = 20 * math.log10(255 / 219)
    torch.testing.assert_close(psnr(sr, hr, shave=4), psnr(sr, hr, shave=4, channel="gray") + mapped_gain)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pictures_that_cannot_be_compared_are_refused(metric, sr, hr):
    with pytest.raises(ValueError, match="same size"):
        metric(sr[..., :-1], hr, shave=4)
    with pytest.raises(ValueError, match="shave"):
        metric(sr, hr, shave=24)


def test_color_shift_is_that_of_the_channel_furthest_off(hr):
    cast = torch.tensor([0, 2, -5]).view(1, 3, 1, 1) / 255
    middle = 0.5 + (hr - 0.5) / 4
    assert color_shift(middle.mul(255).round().div(255) + cast, middle, shave=4).tolist() == pytest.approx([5, 5])
    assert color_shift(hr, hr, shave=4).tolist() == [0, 0]


def test_color_error_agrees_with_scikit_image(sr, hr):
    a, b = (skimage.color.rgb2lab(pixels(image, 4) / 255) for image in (sr, hr))
    assert color_error(sr, hr, shave=4)[0].item() == pytest.approx(
        skimage.color.deltaE_ciede2000(a, b).mean(), abs=1e-4
    )
    assert color_error(hr, hr, shave=4).tolist() == [0, 0]


def test_sharpness_is_1_for_hr_and_below_for_what_is_blurred(hr):
    blurred = torch.nn.functional.avg_pool2d(hr, 9, stride=1, padding=4, count_include_pad=False)
    torch.testing.assert_close(sharpness(hr, hr, shave=4), torch.ones(2).double())
    assert (sharpness(blurred, hr, shave=4) < 0.9).all()


@pytest.fixture
def texture() -> Tensor:
    return torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(3)) * 0.5 + 0.25


@pytest.mark.parametrize("scale", [2, 4])
def test_a_pattern_with_the_scales_period_is_a_checkerboard(texture, scale):
    tile = torch.zeros(scale, scale)
    tile[0, 0] = 0.1
    pattern = tile.repeat(160 // scale, 160 // scale)
    assert checkerboard(texture, texture, scale=scale, shave=scale).item() == pytest.approx(1)
    assert checkerboard(texture + pattern, texture, scale=scale, shave=scale) > 3


def test_a_pattern_with_another_period_is_not(texture):
    tile = torch.zeros(5, 5)
    tile[0, 0] = 0.1
    assert checkerboard(texture + tile.repeat(32, 32), texture, scale=4, shave=4) < 1.5


def test_a_checkerboard_is_found_wherever_the_border_is_cut(texture):
    pattern = torch.zeros(4, 4)
    pattern[0, 0] = 0.1
    found = [
        checkerboard(texture + pattern.repeat(40, 40), texture, scale=4, shave=shave).item() for shave in (4, 5, 6, 7)
    ]
    assert min(found) > 0.8 * max(found) > 2


def test_a_small_picture_has_no_checkerboard_value(sr, hr):
    with pytest.raises(ValueError, match="at least"):
        checkerboard(sr, hr, scale=4, shave=4)


@pytest.mark.parametrize(("name", "best"), [("dss", 1), ("haarpsi", 1), ("mdsi", 0), ("gmsd", 0), ("vif", 1)])
def test_perceptual_metrics_are_best_for_hr_itself_and_worse_with_noise(name, best, sr, hr):
    from sr_cli.metrics import perceptual

    metric = getattr(perceptual, name)
    same, noisy = metric(hr, hr, shave=2), metric(sr, hr, shave=2)
    torch.testing.assert_close(same, torch.full((2,), float(best)).double(), atol=1e-3, rtol=0)
    assert (noisy < same - 0.01).all() if best else (noisy > same + 0.01).all()
    with pytest.raises(ValueError, match="same size"):
        metric(sr[..., :-1], hr, shave=2)


def test_ms_ssim_is_measured_on_luma(texture):
    import piq

    from sr_cli.metrics import perceptual

    noisy = (texture + 0.02).mul(255).round() / 255
    large, changed = torch.nn.functional.interpolate(texture, 200), torch.nn.functional.interpolate(noisy, 200)
    colored = perceptual.ms_ssim(changed, large, shave=0, channel="rgb")
    on_luma = perceptual.ms_ssim(changed, large, shave=0)
    expected = piq.multi_scale_ssim(luma((changed * 255).round() / 255), luma((large * 255).round() / 255))
    assert on_luma.item() == pytest.approx(expected.item(), abs=1e-5)
    assert on_luma != colored
    with pytest.raises(ValueError, match="160×160 pixels"):
        perceptual.ms_ssim(noisy, texture, shave=0)


@pytest.fixture(scope="module")
def vgg_features() -> torch.nn.Sequential:
    """VGG-16's convolutions with random weights."""
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    return make_layers(cfgs["D"])  # without the rest, whose 120 million parameters take a second


@pytest.mark.parametrize("name", ["lpips", "dists"])
@pytest.mark.slow
def test_learned_metrics_are_piqs_with_the_files_weights(name, vgg_features, tmp_path, monkeypatch, sr, hr):
    import piq

    from sr_cli.metrics import learned

    generator = torch.Generator().manual_seed(1)
    if name == "lpips":
        weights = [torch.rand(1, c, 1, 1, generator=generator) for c in (64, 128, 256, 512, 512)]
    else:
        weights = {key: torch.rand(1, 1475, 1, 1, generator=generator) / 1475 for key in ("alpha", "beta")}
    torch.save(weights, tmp_path / "weights.pt")
    state = {f"features.{key}": tensor.clone() for key, tensor in vgg_features.state_dict().items()}
    ours = getattr(learned, f"{name}_network")(state, tmp_path / "weights.pt")

    class Whole(torch.nn.Module):
        features = copy.deepcopy(vgg_features)

    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: Whole())
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: weights)
    theirs = {"lpips": piq.LPIPS, "dists": piq.DISTS}[name](reduction="none")
    expected = theirs(sr, hr).double().reshape(-1)
    torch.testing.assert_close(learned.distance(ours, sr, hr, shave=0), expected)


@pytest.mark.slow
def test_a_file_that_would_run_code_is_no_weights_file(vgg_features, tmp_path):
    from sr_cli.metrics import learned

    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    torch.save(Evil(), tmp_path / "weights.pt")
    state = {f"features.{key}": tensor for key, tensor in vgg_features.state_dict().items()}
    with pytest.raises(WeightsError, match="safely"):
        learned.lpips_network(state, tmp_path / "weights.pt")
