"""NIQE against the paper's formulas, and what lowers and raises it."""

import io
import math

import numpy as np
import pytest
import scipy
import skimage
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from sr_cli.imageops.resize import resize
from sr_cli.metrics.niqe import BLOCK, MIN_BLOCKS, block_statistics, niqe

HEIGHT, WIDTH = 6 * BLOCK, 10 * BLOCK


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A photo and its mirror images side by side, 960×576."""
    pixels = skimage.data.astronaut()
    pixels = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    return Image.fromarray(np.concatenate([pixels, pixels[::-1]])[:HEIGHT, :WIDTH])


def tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def value(picture: Image.Image) -> float:
    return niqe(tensor(picture)).item()


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def noisy(picture: Image.Image, level: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, level, (HEIGHT, WIDTH, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).round().astype(np.uint8))


@pytest.mark.slow
def test_blur_noise_and_compression_raise_it_the_more_the_stronger_they_are(photo):
    blurred = [photo, *(photo.filter(ImageFilter.GaussianBlur(sigma)) for sigma in (1.5, 3))]
    for worse_and_worse in (
        blurred,
        [photo, noisy(photo, 8), noisy(photo, 24)],
        [photo, jpeg(photo, 50), jpeg(photo, 15)],
    ):
        values = [value(picture) for picture in worse_and_worse]
        assert values[0] + 0.3 < values[1] < values[2] - 0.3, values


@pytest.mark.slow
def test_a_mirrored_photo_is_as_natural(photo):
    for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
        assert value(photo.transpose(flip)) == pytest.approx(value(photo), abs=0.1)


@pytest.mark.slow
def test_pictures_of_a_batch_are_measured_one_by_one_and_in_8_bit(photo):
    both = torch.cat([tensor(photo), tensor(noisy(photo, 8))])
    torch.testing.assert_close(niqe(both + 0.3 / 255)[1], niqe(both[1:])[0])
    assert niqe(both).dtype == torch.float64


@pytest.mark.slow
def test_a_small_or_flat_picture_has_no_value(photo):
    small = tensor(photo)[..., : 5 * BLOCK, :]
    niqe(small)
    assert MIN_BLOCKS == 50
    with pytest.raises(ValueError, match="959×480 pixels hold 45 blocks"):
        niqe(small[..., :-1])
    with pytest.raises(ValueError, match="hold 0 blocks"):
        niqe(small[..., : BLOCK - 1])
    half_flat = tensor(photo)
    half_flat[..., : 5 * BLOCK + 8] = 0.5
    with pytest.raises(ValueError, match="hold 30 blocks of 96×96 that aren't flat"):
        niqe(half_flat)


def test_the_features_are_the_papers(photo):
    detail = tensor(photo)[..., BLOCK : 2 * BLOCK, 2 * BLOCK : 4 * BLOCK]
    y = 255 * np.tensordot(detail[0].double().numpy(), (0.299, 0.587, 0.114), (0, 0))
    half = resize(torch.from_numpy(y)[None, None], (BLOCK // 2, BLOCK))[0, 0].numpy()
    found, sharpness = block_statistics(detail)
    for index in range(2):
        expected = [
            feature
            for plane, side in ((y, BLOCK), (half, BLOCK // 2))
            for feature in papers_features(mscn(plane)[0][:, index * side : (index + 1) * side])
        ]
        np.testing.assert_allclose(found[index], expected, atol=2e-3)
        deviation = mscn(y)[1][:, index * BLOCK : (index + 1) * BLOCK]
        assert sharpness[index].item() == pytest.approx(deviation.mean())


def mscn(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equations 1 to 3: mean subtracted, contrast normalized; and the local deviation."""
    down, across = np.mgrid[-3:4, -3:4]
    window = np.exp(-(down**2 + across**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = scipy.ndimage.correlate(y, window, mode="nearest")
    deviation = np.sqrt(scipy.ndimage.correlate(y**2, window, mode="nearest") - mean**2)
    return (y - mean) / (deviation + 1), deviation


def papers_features(block: np.ndarray) -> list[float]:
    """Section 2.2: 18 numbers of one scale."""
    shape, left, right = asymmetric_gaussian(block)
    features = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = asymmetric_gaussian(block * np.roll(block, (down, across), (0, 1)))
        features += [shape, (right - left) * math.gamma(2 / shape) / math.gamma(1 / shape), left, right]
    return features


def asymmetric_gaussian(values: np.ndarray) -> tuple[float, float, float]:
    """Shape and scales by the moments (Lasmar et al. 2009), the shape by bisection instead of a table."""
    left = math.sqrt(np.mean(values[values < 0] ** 2))
    right = math.sqrt(np.mean(values[values > 0] ** 2))
    g = left / right
    wanted = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2

    def excess(shape: float) -> float:
        return math.gamma(2 / shape) ** 2 / (math.gamma(1 / shape) * math.gamma(3 / shape)) - wanted

    shape = scipy.optimize.bisect(excess, 0.2, 10)
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    return shape, left * scale, right * scale
