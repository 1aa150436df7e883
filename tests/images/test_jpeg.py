import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sr_cli import images
from sr_cli.images.codecs import jpeg


@pytest.fixture
def scene():
    """Edges, a gradient and some texture, in color: ``(203, 157, 3)``."""
    rows, columns = np.mgrid[:203, :157]
    disk = (rows - 90) ** 2 + (columns - 70) ** 2 < 50**2
    texture = 8 * np.sin(rows / 1.7) * np.sin(columns / 2.3)
    scene = np.stack([40 + rows / 2 + 120 * disk, 60 + columns / 2 + texture, 200 - rows / 3 - 90 * disk], axis=2)
    return np.clip(scene, 0, 255).astype(np.uint8)


def saved(scene, **options):
    file = io.BytesIO()
    Image.fromarray(scene).save(file, "JPEG", **options)
    return file


def error(picture, scene):
    return float(np.square(np.subtract(picture.color, np.atleast_3d(scene), dtype=float)).mean())


@pytest.mark.parametrize("quality", [10, 30, 50])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_smooth_picture_is_closer_to_the_original(scene, quality, subsampling):
    file = saved(scene, quality=quality, subsampling=subsampling)
    assert error(images.read(file, smooth_jpeg=60), scene) < 0.95 * error(images.read(file), scene)


def test_gray_works_alike(scene):
    file = saved(scene[..., 1], quality=30)
    smooth = images.read(file, smooth_jpeg=60)
    assert smooth.color.shape == (203, 157, 1)
    assert error(smooth, scene[..., 1]) < error(images.read(file), scene[..., 1])


def test_it_is_a_picture_that_the_file_may_stand_for(scene):
    """All coefficients of its brightness round to those in the file, but for its own rounding to 8 bits."""
    with Image.open(saved(scene[..., 1], quality=30)) as image:
        steps = np.array(image.quantization[0], np.float32).reshape(1, 8, 1, 8)
        stored = jpeg._to_coefficients(np.asarray(image, np.float32)[:200, :152] - 128)
        smooth = images.read(saved(scene[..., 1], quality=30), smooth_jpeg=60).color[:200, :152, 0]
    moved = jpeg._to_coefficients(smooth.astype(np.float32) - 128) - np.rint(stored / steps) * steps
    assert (np.abs(moved) < 0.25 * steps + 2.5).all() and (np.abs(moved) / steps).mean() > 0.01


def test_the_quality_decides(scene):
    for quality in (59, 60, 95):
        file = saved(scene, quality=quality)
        plain, smooth = images.read(file), images.read(file, smooth_jpeg=60)
        assert (plain.color == smooth.color).all() == (quality >= 60)


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_colors_other_than_ycbcr_are_left_alone(scene, mode):
    options = {"keep_rgb": True} if mode == "RGB" else {}
    file = io.BytesIO()
    Image.fromarray(scene).convert(mode).save(file, "JPEG", quality=30, **options)
    assert (images.read(file, smooth_jpeg=60).color == images.read(file).color).all()


def test_orientation_profile_and_metadata_stay(scene):
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = images.read(saved(scene, quality=95, icc_profile=None)).metadata
    file = saved(scene, quality=30, exif=exif, dpi=(300, 300))
    plain, smooth = images.read(file), images.read(file, smooth_jpeg=60)
    assert smooth.color.shape == plain.color.shape == (157, 203, 3)
    assert replace(smooth.metadata, icc=profile.icc) == replace(plain.metadata, icc=profile.icc)


def test_bands_are_the_whole(monkeypatch):
    plane = np.random.default_rng(0).uniform(0, 255, (400, 40)).astype(np.float32)
    steps = np.full((8, 8), 20, np.float32)
    whole = jpeg.smooth(plane, steps)
    monkeypatch.setattr(jpeg, "_BAND", 64)
    np.testing.assert_allclose(jpeg.smooth(plane, steps), whole, rtol=0, atol=1e-3)


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # the latter: files that earlier tests left
def test_a_rounding_step_of_zero_does_no_harm(scene):
    content = bytearray(saved(scene[..., 1], quality=30).getvalue())
    at = content.index(b"\xff\xdb") + 5
    content[at : at + 64 : 3] = bytes(22)
    assert images.read(io.BytesIO(bytes(content)), smooth_jpeg=100).color.shape == (203, 157, 1)
