"""Colors under transparent pixels continue the visible ones."""

import numpy as np
import pytest
from PIL import Image

from sr_cli import images


def disc(size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A red disc with a soft edge; what lies hidden around it is black."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = (np.clip(size / 4 - np.hypot(y, x), 0, 1) * 255).astype(np.uint8)
    color = np.zeros((size, size, 3), np.uint8)
    color[alpha > 0] = (220, 40, 60)
    return color, alpha


@pytest.mark.parametrize("background", [0, 255])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_disc_has_no_fringe_on_any_background(background, scale):
    """Upscaled by a kernel with wide support and overshoot, then laid over a background."""
    color, alpha = disc()
    large_alpha = enlarged(alpha, scale)[..., None] / 255
    flat = np.full_like(color, (220, 40, 60))
    ideal = enlarged(flat, scale) * large_alpha + background * (1 - large_alpha)
    bled = enlarged(images.bleed(color, alpha), scale) * large_alpha + background * (1 - large_alpha)
    naive = enlarged(color, scale) * large_alpha + background * (1 - large_alpha)
    assert np.abs(bled - ideal).max() < 1
    assert np.abs(naive - ideal).max() > 20


def enlarged(pixels: np.ndarray, scale: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS), float)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 9), (9, 1), (37, 53), (64, 64)])
def test_bleeding_leaves_what_is_visible_and_stays_within_its_colors(size, dtype):
    generator = np.random.default_rng(0)
    color = generator.integers(0, np.iinfo(dtype).max, (*size, 3), dtype)
    alpha = generator.integers(0, 2, size, dtype) * generator.integers(0, np.iinfo(dtype).max, size, dtype)
    bled = images.bleed(color, alpha)
    np.testing.assert_array_equal(bled[alpha > 0], color[alpha > 0])
    assert (bled >= color[alpha > 0].min(axis=0)).all() and (bled <= color[alpha > 0].max(axis=0)).all()
    assert bled.dtype == dtype


def test_there_may_be_nothing_to_bleed_or_nothing_to_bleed_from():
    color, _ = disc()
    for alpha in (np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)):
        assert images.bleed(color, alpha) is color


def test_far_from_anything_visible_the_color_is_still_the_nearest_one():
    color, alpha = np.zeros((300, 500, 3), np.uint8), np.zeros((300, 500), np.uint8)
    color[:, :2], alpha[:, :2] = (10, 200, 30), 255
    np.testing.assert_array_equal(images.bleed(color, alpha), np.full_like(color, (10, 200, 30)))
