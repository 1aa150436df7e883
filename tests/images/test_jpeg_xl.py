"""JPEG XL keeps depth, alpha, color space and metadata, and reads what other encoders make."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from sr_cli import images
from sr_cli.errors import ImageError
from sr_cli.images.header import read_header
from sr_cli.images.icc import in_srgb
from support.pictures import XMP, exif, exif_of, gradient, gray_profile, rgb_profile, rgb_table_profile


def encoded(picture: images.Picture, quality: int) -> io.BytesIO:
    file = io.BytesIO()
    images.write(picture, file, format="JPEGXL", quality=quality)
    file.seek(0)
    return file


def jpeg(orientation: int) -> bytes:
    file = io.BytesIO()
    options = {"exif": b"Exif\0\0" + exif(orientation), "icc_profile": rgb_profile(), "xmp": XMP, "quality": 98}
    Image.fromarray(gradient()).save(file, "JPEG", subsampling=0, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_quality_100_is_lossless_with_profile_and_metadata(channels, dtype):
    pixels = gradient(channels=channels, dtype=dtype)
    alpha = pixels[..., -1] if channels in (2, 4) else None
    icc = gray_profile() if channels < 3 else rgb_profile("prophoto", 1.8)
    about = images.Metadata(icc=icc, exif=exif(1), xmp=XMP)
    picture = images.Picture(color=pixels[..., : 1 if channels < 3 else 3], alpha=alpha, metadata=about)
    file = encoded(picture, 100)
    again = images.read(file)
    np.testing.assert_array_equal(again.color, picture.color)
    assert again.metadata.icc == icc and again.metadata.xmp is not None
    assert exif_of(again.metadata.exif)[0x0110] == "Heron 1"
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha)
    others = np.atleast_3d(imagecodecs.jpegxl_decode(file.getvalue()))
    np.testing.assert_array_equal(others, pixels)


@pytest.mark.parametrize("icc", [rgb_profile(), rgb_profile("prophoto", 1.0), gray_profile(), rgb_table_profile(1.0)])
def test_lossy_files_keep_the_look_of_any_color_space(icc):
    color = np.full((40, 40, 1 if icc[16:20] == b"GRAY" else 3), 255, np.uint8)
    color[:, 20:] = [90] if color.shape[2] == 1 else [255, 0, 0]
    picture = images.Picture(color=color, metadata=images.Metadata(icc=icc))
    again = in_srgb(images.read(encoded(picture, 95)))
    wanted = in_srgb(picture)
    for x in (5, 35):
        assert np.abs(again.color[20, x].astype(int) - wanted.color[20, x]).max() <= 2


def test_the_codestream_says_the_orientation_and_exif_does_not():
    file = io.BytesIO(imagecodecs.jpegxl_encode_jpeg(jpeg(6)))
    picture, from_jpeg = images.read(file), images.read(io.BytesIO(jpeg(6)))
    assert (picture.width, picture.height) == (30, 40)
    assert picture.metadata == from_jpeg.metadata or picture.metadata.exif == from_jpeg.metadata.exif
    assert np.abs(picture.color.astype(int) - from_jpeg.color).max() <= 2
    turned = images.Picture(color=gradient(), metadata=images.Metadata(exif=exif(6)))
    assert images.read(encoded(turned, 100)).width == 40


def test_a_header_is_read_without_the_pixels(tmp_path):
    path = tmp_path / "turned.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode_jpeg(jpeg(6))[:-100])
    header = read_header(path)
    assert (header.format, header.width, header.height) == ("JPEGXL", 30, 40)
    with pytest.raises(ImageError, match=r"turned\.jxl: cannot be decoded"):
        images.read(path)
    with pytest.raises(ImageError, match="30 × 40 pixels"):
        images.read(path, max_pixels=1000)


def test_what_is_not_read_is_said():
    frames = np.stack([np.roll(gradient(), shift, axis=1) for shift in range(3)])
    moving = images.read(io.BytesIO(imagecodecs.jpegxl_encode(frames, lossless=True, photometric="rgb")))
    np.testing.assert_array_equal(moving.color, frames[0])
    assert moving.notes == ("only the first frame of its animation is upscaled",)
    light = images.read(io.BytesIO(imagecodecs.jpegxl_encode(gradient().astype(np.float32) / 255, lossless=True)))
    assert light.bits == 16 and light.notes == ("its 32-bit float values are read at 16 bits",)


def test_a_build_without_libjxl_is_named(monkeypatch):
    file = encoded(images.Picture(color=gradient()), 100)
    monkeypatch.setattr("sr_cli.images.codecs.jpeg_xl._libjxl", lambda: None)
    with pytest.raises(ImageError, match="needs a build of imagecodecs with libjxl"):
        images.read(file)
    with pytest.raises(ImageError, match="need a build of imagecodecs with libjxl"):
        encoded(images.Picture(color=gradient()), 100)
