"""`Upscaler.upscale` takes what a notebook has: paths, Pillow images, arrays, tensors, lists."""

import numpy as np
import pytest
import torch
from PIL import Image

from sr_cli import SrError, Upscaler


@pytest.fixture(scope="module")
def upscaler():
    return Upscaler.from_pretrained("compact-x2", device="cpu", dtype="float32")


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_all_forms_give_the_same_pixels(upscaler, tmp_path):
    pixels = noise(12, 16, 3)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    large = upscaler.upscale(pixels)
    assert (large.shape, large.dtype) == ((24, 32, 3), np.uint8)
    for form in (image, tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(np.asarray(upscaler.upscale(form)), large)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    assert np.abs(upscaler.upscale(tensor).permute(1, 2, 0).numpy() * 255 - large).max() <= 0.501
    assert upscaler.upscale(tensor[None]).shape == (1, 3, 24, 32)
    done = []
    several = upscaler.upscale([image, pixels], progress=lambda *each: done.append(each))
    assert isinstance(several[0], Image.Image) and np.array_equal(several[1], large) and done == [(1, 2), (2, 2)]


def test_sixteen_bits_stay(upscaler):
    gray = upscaler.upscale(Image.fromarray(np.full((20, 20), 40000, np.uint16)))
    assert gray.mode == "I;16" and abs(int(np.asarray(gray).mean()) - 40000) < 700
    deep = upscaler.upscale(noise(8, 8, 3, dtype=np.uint16))
    assert deep.dtype == np.uint16 and len(np.unique(deep)) > 256
    soft = upscaler.upscale(np.full((8, 8), 0.5, np.float32))
    assert soft.dtype == np.float32 and soft.shape == (16, 16) and abs(float(soft.mean()) - 0.5) < 0.02


def test_orientation_profile_and_metadata_are_honored(upscaler, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Image.fromarray(noise(10, 15, 3)).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    for form in (tmp_path / "a.jpg", Image.open(tmp_path / "a.jpg")):
        large = upscaler.upscale(form)
        assert large.size == (20, 30)
        assert large.getexif()[0x010F] == "Maker" and large.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr"])
@pytest.mark.slow
def test_any_mode_has_a_result_of_the_wanted_size(upscaler, mode):
    image = Image.new(mode, (6, 4))
    assert upscaler.upscale(image).size == (12, 8)
    assert upscaler.upscale(image, scale=1.5).size == (9, 6)
    assert upscaler.upscale(image, size=(7, 5)).size == (7, 5)


def test_what_makes_no_sense_is_refused(upscaler, tmp_path):
    with pytest.raises(SrError, match="no such file"):
        upscaler.upscale(tmp_path / "missing.png")
    with pytest.raises(TypeError, match="cannot upscale int"):
        upscaler.upscale(3)
    for nonsense in (np.zeros((2, 3, 4, 5), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), np.int64)):
        with pytest.raises(ValueError, match="the array"):
            upscaler.upscale(nonsense)
    with pytest.raises(ValueError, match="the tensor"):
        upscaler.upscale(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="exclude"):
        upscaler.upscale(np.zeros((4, 4), np.uint8), size=(8, 8), scale=2)
