import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from sr_cli.data import degrade, quantize
from sr_cli.imageops.gaussian import gaussian_blur


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].double() / 255


@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100"])
def test_bicubic_agrees_with_matlabs_lr(benchmarks, name):
    close = same = total = 0
    for path in sorted((benchmarks / name / "HR").iterdir())[:20]:
        difference = 255 * (
            degrade(pixels(path), 4, kind="bicubic") - pixels(benchmarks / name / "LRbicx4" / path.name)
        )
        close += int((difference.abs() < 1.01).sum())
        same += int((difference.abs() < 0.01).sum())
        total += difference.numel()
    assert close / total >= 0.999
    assert same / total >= 0.98


@pytest.mark.parametrize("kind", ["bicubic", "paper", "photo"])
def test_lr_is_small_in_range_and_of_the_same_color(photo, kind):
    lr = degrade(photo, 4, kind=kind, rng=np.random.default_rng(3))
    assert lr.shape == (1, 3, 15, 21)
    assert 0 <= lr.min() <= lr.max() <= 1
    torch.testing.assert_close(lr.mean((0, 2, 3)), photo.mean((0, 2, 3)), rtol=0, atol=0.02)


def test_a_gray_photo_stays_gray(photo):
    gray = photo[:, :1].expand(-1, 3, -1, -1)
    for kind in ("bicubic", "paper"):
        lr = degrade(gray, 4, kind=kind)
        torch.testing.assert_close(lr[:, :1].expand(-1, 3, -1, -1), lr)


def test_the_papers_blur_is_a_gaussian():
    dot = torch.zeros(1, 1, 21, 21)
    dot[..., 10, 10] = 1
    blurred = gaussian_blur(dot, 1.5)
    offsets = torch.arange(-10, 11).float()
    row = torch.exp(-(offsets**2) / (2 * 1.5**2))
    row = row * (offsets.abs() <= 6)
    row /= row.sum()
    torch.testing.assert_close(blurred[0, 0], row[:, None] * row[None, :])
    torch.testing.assert_close(gaussian_blur(dot, 0), dot)


def test_photo_differs_from_draw_to_draw_and_repeats_with_the_same_one(photo):
    one, again, other = (degrade(photo, 4, kind="photo", rng=np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_photo_is_blur_noise_and_jpeg_at_the_size_of_lr(photo):
    for seed in range(20):
        log: list[str] = []
        degrade(photo, 4, kind="photo", rng=np.random.default_rng(seed), log=log)
        blur, resize, *rest = log
        assert blur.startswith("blur ") and float(blur.split()[1]) <= 1.6
        assert resize.split() in (["bicubic", "to", "21×15"], ["bilinear", "to", "21×15"])
        assert [step.split()[0] for step in rest] in ([], ["Gaussian"], ["JPEG"], ["Gaussian", "JPEG"])


def test_a_side_that_does_not_divide_is_refused(photo):
    with pytest.raises(ValueError, match="not a multiple of scale 8"):
        degrade(photo, 8)


def test_eight_bit():
    values = torch.tensor([-0.1, 0.0, 0.0019, 0.002, 0.5, 1.0, 1.1])
    assert (quantize(values) * 255).tolist() == pytest.approx([0, 0, 0, 1, 128, 255, 255])
    assert F.mse_loss(quantize(values), values.clamp(0, 1)) < 1e-5
