import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sr_cli.data import Batches, Loader, Photos, TrainingPairs, degrade
from sr_cli.data.real_degradation import degrade_real, filter_image
from sr_cli.degradation_table import DegradationOrder, RealDegradation, read_table
from sr_cli.imageops.gaussian import gaussian_blur
from sr_cli.imageops.resize import resize
from sr_cli.system.packages import parse_toml

SCALES = (2, 3, 4, 8)
MODES = ("area", "bilinear", "bicubic")
NEVER = DegradationOrder(blur=0, resize=0, noise=0, sharpen=0, compress=0)
NOTHING = RealDegradation(clean=0, second_order=0, last_sinc=0, last_compress=0, first=NEVER, second=NEVER)


def only(**changes: object) -> RealDegradation:
    """A table by which these things happen to every picture, and nothing else but the resize to LR."""
    order = {key: changes.pop(key) for key in list(changes) if key in DegradationOrder.__dataclass_fields__}
    return dataclasses.replace(NOTHING, first=dataclasses.replace(NEVER, **order), **changes)


def only_mode(mode: str) -> dict[str, float]:
    return {"area": 0.0, "bilinear": 0.0, "bicubic": 0.0, mode: 1.0}


def only_kernel(kernel: str) -> dict[str, float]:
    return dict.fromkeys(RealDegradation().kernels, 0.0) | {kernel: 1.0}


def blob(side: int, *, at: tuple[float, float], sigma: float) -> Tensor:
    """A bright Gaussian spot at (x, y) relative to the side, on gray."""
    line = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    x, y = (torch.exp(-((line - place) ** 2) / (2 * sigma**2)) for place in at)
    return (0.1 + 0.7 * y[:, None] * x).float().expand(3, -1, -1).contiguous()


def centroid(image: Tensor) -> tuple[float, float]:
    """(x, y) of what is brighter than the ground, relative to the side."""
    light = (image.double().mean(0) - 0.1 - 0.05).clamp_min(0)
    line = (torch.arange(len(light), dtype=torch.float64) + 0.5) / len(light)
    return float((light.sum(0) * line).sum() / light.sum()), float((light.sum(1) * line).sum() / light.sum())


@pytest.fixture
def scene() -> Tensor:
    """``(3, 96, 96)``: smooth shapes and a little texture."""
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(1, 3, 12, 12, generator=generator)
    fine = torch.rand(1, 3, 96, 96, generator=generator)
    return (0.8 * F.interpolate(coarse, size=(96, 96), mode="bicubic") + 0.2 * fine)[0].clamp(0, 1)


@pytest.mark.parametrize("scale", SCALES)
def test_lr_has_its_exact_size_in_8_bits_whatever_is_drawn(scale):
    hr = torch.rand(1, 3, 11 * scale, 7 * scale, generator=torch.Generator().manual_seed(1))
    for seed in range(25):
        lr = degrade(hr, scale, kind="real", rng=np.random.default_rng(seed))
        assert lr.shape == (1, 3, 11, 7)
        assert lr.dtype == torch.float32
        assert 0 <= lr.min() <= lr.max() <= 1
        torch.testing.assert_close((255 * lr).round(), 255 * lr, rtol=0, atol=1e-3)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1.0, 1.0), (0.6, 1.3), (1.3, 2.5)], ids=str)
@pytest.mark.slow
def test_no_resize_moves_the_picture(scale, mode, size):
    table = only(resize=1.0, size=size, modes=only_mode(mode))
    hr = blob(24 * scale, at=(0.47, 0.54), sigma=0.1)
    wanted = centroid(hr)
    for seed in range(8):
        lr = degrade_real(hr, (24, 24), table, np.random.default_rng(seed))
        assert centroid(lr) == pytest.approx(wanted, abs=0.05 / 24)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kernel", RealDegradation().kernels)
@pytest.mark.slow
def test_no_blur_moves_the_picture(scale, kernel):
    table = only(blur=1.0, sigma=(0.4, 1.2), kernels=only_kernel(kernel))
    hr = blob(32 * scale, at=(0.47, 0.52), sigma=0.06)
    for seed in range(4):
        lr = degrade_real(hr, (32, 32), table, np.random.default_rng(seed))
        assert centroid(lr) == pytest.approx((0.47, 0.52), abs=0.05 / 32)


@pytest.mark.parametrize(
    "what", [{"compress": 1.0}, {"last_compress": 1.0}, {"sharpen": 1.0}, {"last_sinc": 1.0}], ids=str
)
def test_neither_compression_nor_sharpening_moves_the_picture(what):
    hr = blob(128, at=(0.47, 0.53), sigma=0.12)
    hr[1:] = 0.3 * hr[1:] + 0.07  # red: chroma, which is subsampled, must stay as well
    wanted = np.array(centroid(filter_image(hr, (32, 32), "area")))
    table = only(**what, webp=0.5)
    moved = [32 * (centroid(degrade_real(hr, (32, 32), table, np.random.default_rng(i))) - wanted) for i in range(40)]
    assert np.abs(np.mean(moved, 0)).max() < 0.02  # LR pixels; a single file has errors of its own
    assert np.abs(moved).max() < 0.2


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.slow
def test_a_ramp_stays_aligned_with_its_bicubic_lr(scale):
    side = 48 * scale
    ramp = (0.1 + 0.8 * (torch.arange(side) + 0.5) / side).expand(3, side, -1).contiguous()
    expected = resize(ramp[None], (48, 48))[0, 0, 24, 12:-12]
    step = 0.8 / 48
    for seed in range(15):
        for hr, axis in ((ramp, 0), (ramp.mT.contiguous(), 1)):
            lr = degrade_real(hr, (48, 48), RealDegradation(), np.random.default_rng(seed)).mean((0, 1 + axis))
            assert abs(float((lr[12:-12] - expected).mean())) < 0.1 * step + 2 / 255


def test_the_resizes_are_the_known_ones(scene):
    expected = resize(scene[None].double(), (24, 24))[0].float()
    torch.testing.assert_close(filter_image(scene, (24, 24), "bicubic"), expected, rtol=0, atol=1e-5)
    expected = F.avg_pool2d(scene[None], 4)[0]
    torch.testing.assert_close(filter_image(scene, (24, 24), "area"), expected, rtol=0, atol=1e-5)
    expected = F.interpolate(scene[None], size=(37, 71), mode="bilinear", antialias=True)[0]
    bilinear = filter_image(scene, (37, 71), "bilinear")
    torch.testing.assert_close(bilinear[:, 3:-3, 3:-3], expected[:, 3:-3, 3:-3], rtol=0, atol=1e-4)
    for mode in MODES:
        assert torch.equal(filter_image(scene, (96, 96), mode), scene)
        flat = filter_image(torch.full((3, 50, 60), 0.3), (133, 17), mode)
        torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


def test_a_blur_in_one_pass_with_a_resize_is_the_blur_and_then_the_resize(scene):
    taps = np.exp(-0.5 * (np.arange(-8, 9) / 2.0) ** 2)
    taps /= taps.sum()
    blurred = gaussian_blur(scene[None], 2.0)
    at_once, after = (
        filter_image(scene, (24, 32), "bilinear", (taps, taps)),
        filter_image(blurred[0], (24, 32), "bilinear"),
    )
    torch.testing.assert_close(at_once[:, 2:-2, 2:-2], after[:, 2:-2, 2:-2], rtol=0, atol=1e-4)


def test_the_same_numbers_make_the_same_lr_and_others_make_another(scene):
    one, again, other = (degrade(scene[None], 4, kind="real", rng=np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_hr_stays_as_it_is(scene):
    before = scene.clone()
    for seed in range(40):
        degrade_real(scene, (24, 24), RealDegradation(), np.random.default_rng(seed))
    assert torch.equal(scene, before)


def test_a_pair_is_the_same_in_every_process_and_whatever_the_number_of_threads(photo_folder):
    photos = Photos.below(photo_folder, min_side=32, cache_bytes=1 << 20)
    pairs = TrainingPairs(photos, scale=4, crop_size=64, degradation="real", seed=2)
    here = [Batches(pairs, batch_size=4)[step].lr for step in range(3)]
    loader = Loader(Batches(pairs, batch_size=4), workers=1)
    loader.start(0)
    try:
        for expected in here:
            assert torch.equal(next(loader).lr, expected)
    finally:
        loader.close()
    threads = torch.get_num_threads()
    assert torch.equal(torch.stack([pairs[i].lr for i in range(4)]), here[0])
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_a_share_of_the_pictures_is_clean(scene):
    logs = []
    for seed in range(250):
        log: list[str] = []
        degrade_real(scene, (24, 24), RealDegradation(), np.random.default_rng(seed), log=log)
        logs.append(log)
    clean = [log for log in logs if len(log) == 1]
    mild = [log for log in logs if len(log) == 2 and log[1].startswith("JPEG") and int(log[1].split()[1]) >= 75]
    assert clean
    assert mild
    assert 0.12 < (len(clean) + len(mild)) / len(logs) < 0.26
    said = Counter(word for log in logs for word in {step.split()[0] for step in log})
    for word in (
        "area",
        "bilinear",
        "bicubic",
        "blur",
        "anisotropic",
        "generalized",
        "plateau",
        "sinc",
        "Gaussian",
        "Poisson",
        "gray",
        "sharpened",
        "JPEG",
        "WebP",
    ):
        assert said[word], word


def test_a_clean_picture_is_only_reduced(scene):
    table = RealDegradation(clean=1.0, clean_compress=0.0)
    expected = [filter_image(scene, (24, 24), mode).clamp(0, 1) for mode in ("bicubic", "area")]
    for seed in range(6):
        lr = degrade_real(scene, (24, 24), table, np.random.default_rng(seed))
        assert any(torch.equal(lr, each) for each in expected)


def test_noise_is_as_strong_as_said():
    flat = torch.full((3, 128, 128), 0.5)
    for gray in (0.0, 1.0):
        for poisson in (0.0, 1.0):
            table = only(noise=1.0, noise_sigma=(8.0, 8.0), gray_noise=gray, poisson=poisson)
            noise = 255 * (degrade_real(flat, (128, 128), table, np.random.default_rng(1)) - flat)
            assert float(noise.std()) == pytest.approx(8, rel=0.05)
            assert torch.equal(noise[0], noise[1]) == bool(gray)


def test_gray_pictures_stay_gray_but_for_noise(scene):
    gray = scene[:1].expand(3, -1, -1).contiguous()
    table = only(blur=1.0, resize=1.0, sharpen=1.0, compress=1.0, last_compress=1.0, last_sinc=1.0, webp=0.3)
    for seed in range(10):
        lr = degrade_real(gray, (24, 24), table, np.random.default_rng(seed))
        assert float((lr.amax(0) - lr.amin(0)).max()) <= 2.5 / 255


def test_the_reference_shows_the_defaults():
    page = (Path(__file__).parents[2] / "docs/reference/degradations.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    shown = parse_toml(block)["degradation"]
    assert read_table(shown) == RealDegradation()
    defaults = dataclasses.asdict(RealDegradation())
    assert shown.keys() == defaults.keys()
    for order in ("first", "second"):
        assert list(shown[order]) == list(defaults[order])


def test_a_table_changes_what_it_names():
    table = read_table({"clean": 0.5, "modes": {"area": 1}, "first": {"quality": [60, 80]}, "second": {"blur": 1}})
    assert (table.clean, table.first.quality, table.second.blur) == (0.5, (60, 80), 1)
    assert table.modes == {"area": 1, "bilinear": 0, "bicubic": 0}
    assert table.second.sigma == RealDegradation().second.sigma
    assert read_table(dataclasses.asdict(table)) == table
    assert read_table({}) == RealDegradation()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"claen": 0.1}, "did you mean clean"),
        ({"first": {"blurr": 0.1}}, r"degradation\.first: .*did you mean blur"),
        ({"modes": {"nearest": 1}}, "the keys are area, bilinear, bicubic"),
        ({"clean": 1.5}, "clean must be a number from 0 to 1, not 1.5"),
        ({"clean": True}, "clean"),
        ({"clean": "often"}, "clean"),
        ({"first": 3}, r"degradation\.first must be a table"),
        ({"first": {"quality": [90, 40]}}, "quality must be a range"),
        ({"first": {"quality": [0, 40]}}, r"within \[1, 100\]"),
        ({"first": {"size": 2}}, "size must be a range"),
        ({"first": {"sigma": ["a", 2]}}, "sigma must be a range"),
        ({"cutoff": [float("nan"), 1]}, "cutoff must be a range"),
        ({"kernels": {"sinc": 0}}, "at least one of them above 0"),
        ({"kernels": {"sinc": -1}}, "kernels must be shares"),
        ([], "must be a table"),
    ],
    ids=str,
)
def test_nonsense_in_a_table_is_refused_by_name(table, message):
    with pytest.raises(ValueError, match=message):
        read_table(table)
