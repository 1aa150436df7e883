import numpy as np
import pytest
import torch

from sr_cli.imageops.resize import resize


def matlab_like(image, length):
    """MATLAB's imresize along the last axis, written out, with edge pixels repeated."""
    old = image.shape[-1]
    ratio = length / old
    width = 4 / min(ratio, 1)
    result = np.zeros((*image.shape[:-1], length))
    for i in range(length):
        center = (i + 0.5) / ratio - 0.5
        taps = np.arange(np.floor(center - width / 2), np.ceil(center + width / 2) + 1)
        x = np.abs(taps - center) * min(ratio, 1)
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        weights = np.where(x <= 1, near, np.where(x < 2, far, 0))
        result[..., i] = image[..., taps.clip(0, old - 1).astype(int)] @ (weights / weights.sum())
    return result


@pytest.mark.parametrize(
    "size", [(15, 21), (30, 42), (120, 168), (180, 252), (480, 672), (15, 84), (60, 168), (120, 21)]
)
def test_bicubic_is_matlabs(photo, size):
    expected = matlab_like(matlab_like(photo.double().numpy(), size[1]).swapaxes(2, 3), size[0]).swapaxes(2, 3)
    np.testing.assert_allclose(resize(photo.double(), size).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("size", [(1, 1), (7, 91), (60, 84), (33, 20), (120, 168)])
def test_a_flat_image_stays_flat(kernel, size):
    flat = torch.full((2, 3, 60, 84), 0.3)
    torch.testing.assert_close(resize(flat, size, kernel=kernel), torch.full((2, 3, *size), 0.3))


def test_an_image_of_one_pixel_can_be_enlarged():
    torch.testing.assert_close(resize(torch.full((1, 3, 1, 1), 0.7), (8, 8)), torch.full((1, 3, 8, 8), 0.7))
