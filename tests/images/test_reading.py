"""Every kind of picture that files hold, read at its own depth, upright, with its alpha."""

import io
import os
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from sr_cli import images
from sr_cli.errors import ImageError
from sr_cli.images.icc import srgb_profile
from support.pictures import CYAN_INK, cmyk_profile, exif, gradient, rgb_profile


def tiff(pixels, **options) -> io.BytesIO:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    file.seek(0)
    return file


def pillow(image: Image.Image, format: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_is_read_at_its_depth(channels, dtype):
    pixels = gradient(channels=channels, dtype=dtype)
    picture = images.read(io.BytesIO(imagecodecs.png_encode(pixels.squeeze())))
    assert picture.format == "PNG"
    np.testing.assert_array_equal(picture.color, pixels[..., : 1 if channels < 3 else 3])
    if channels in (2, 4):
        np.testing.assert_array_equal(picture.alpha, pixels[..., -1])
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_tiff_is_read_at_its_depth(dtype, planar, byteorder, compression):
    pixels = gradient(channels=4, dtype=dtype)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    options = {"photometric": "rgb", "planarconfig": planar, "extrasamples": ["unassalpha"]}
    picture = images.read(tiff(stored, byteorder=byteorder, compression=compression, **options))
    np.testing.assert_array_equal(picture.color, pixels[..., :3])
    np.testing.assert_array_equal(picture.alpha, pixels[..., 3])
    assert picture.color.dtype.isnative


def test_premultiplied_tiff_is_divided_by_alpha():
    color, alpha = gradient(dtype=np.uint16), np.full((30, 40, 1), 0x4000, np.uint16)
    premultiplied = (color * (alpha / 0xFFFF) + 0.5).astype(np.uint16)
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    picture = images.read(tiff(np.concatenate([premultiplied, alpha], axis=-1), **options))
    assert np.abs(picture.color.astype(int) - color).max() <= 4


def test_tiff_channels_that_are_no_alpha_are_dropped():
    picture = images.read(tiff(gradient(channels=4), photometric="rgb", extrasamples=["unspecified"]))
    assert picture.alpha is None


def test_black_and_white():
    image = Image.fromarray(gradient()).convert("1")
    expected = np.asarray(image.convert("L"))[..., None]
    for format in ("PNG", "TIFF", "BMP"):
        picture = images.read(pillow(image, format))
        assert picture.is_gray and picture.bits == 8
        np.testing.assert_array_equal(picture.color, expected)


def test_fax_with_white_as_zero():
    image = Image.fromarray(gradient()).convert("1")
    picture = images.read(pillow(image, "TIFF", compression="group4"))
    np.testing.assert_array_equal(picture.color, np.asarray(image.convert("L"))[..., None])


def test_twelve_bits_fill_sixteen():
    pixels = gradient(channels=1, dtype=np.uint16)[..., 0] >> 4
    picture = images.read(io.BytesIO(twelve_bit_tiff(pixels)))
    assert picture.bits == 16
    np.testing.assert_allclose(picture.color[..., 0] / 65535, pixels / 4095, atol=1e-5)


def twelve_bit_tiff(pixels) -> bytes:
    """An uncompressed little-endian TIFF whose 12-bit values are packed by two into three bytes."""
    height, width = pixels.shape
    pairs = pixels.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=-1)
    strip = packed.astype(np.uint8).tobytes()
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    directory = len(tags).to_bytes(2, "little") + b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for tag, value in tags.items()
    )
    return b"II*\0" + (8 + len(strip)).to_bytes(4, "little") + strip + directory + bytes(4)


@pytest.mark.parametrize(
    "transparency", [0, bytes([0, 128, 255] + [255] * 253)], ids=["one color", "a table of opacities"]
)
def test_palette_with_transparency(transparency):
    image = Image.fromarray(gradient()).quantize(64)
    picture = images.read(pillow(image, "PNG", transparency=transparency))
    image.info["transparency"] = transparency
    expected = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(np.dstack([picture.color, picture.alpha]), expected)
    assert 0 in picture.alpha


def test_one_transparent_gray_of_four_bits():
    # 0 1 2 3 … of 4 bits, of which 4 is transparent
    pixels = np.arange(16, dtype=np.uint8)[None]
    file = Image.fromarray(pixels * 17)
    picture = images.read(io.BytesIO(gray_png_of_4_bits(pixels, transparent=4)))
    np.testing.assert_array_equal(picture.color[..., 0], np.asarray(file))
    np.testing.assert_array_equal(picture.alpha[0] == 0, np.arange(16) == 4)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def gray_png_of_4_bits(pixels, *, transparent: int) -> bytes:
    rows = b"".join(b"\0" + (row[::2] << 4 | row[1::2]).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 4, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", transparent))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF"])
def test_palette_of_colors(format):
    image = Image.fromarray(gradient()).quantize(64)
    picture = images.read(pillow(image, format))
    np.testing.assert_array_equal(picture.color, np.asarray(image.convert("RGB")))


def test_palette_of_grays_is_gray():
    image = Image.fromarray(gradient(channels=1)[..., 0]).quantize(32)
    for format in ("GIF", "BMP", "PNG", "TIFF"):
        picture = images.read(pillow(image, format))
        assert picture.is_gray, format
        np.testing.assert_array_equal(picture.color[..., 0], np.asarray(image.convert("L")))
    transparent = images.read(pillow(image, "PNG", transparency=b"\x10" * 32))
    assert transparent.is_gray and (transparent.alpha == 16).all()


P3_WITH_SRGB_CURVE, LINEAR = (b"cICP", bytes((12, 13, 0, 1))), (b"gAMA", struct.pack(">I", 100_000))
P3_CORNERS = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))


@pytest.mark.parametrize(
    ("chunks", "stored", "in_srgb"),
    [
        ([P3_WITH_SRGB_CURVE], (200, 60, 60), (217, 42, 52)),
        ([(b"gAMA", struct.pack(">I", 45455)), P3_CORNERS], (200, 60, 60), (217, 42, 52)),
        ([LINEAR], (128, 128, 128), (188, 188, 188)),
        ([LINEAR], (128,), (188, 188, 188)),
        ([P3_WITH_SRGB_CURVE, LINEAR], (200, 60, 60), (217, 42, 52)),  # cICP comes before all others
        ([(b"sRGB", b"\0"), LINEAR], (128, 128, 128), (128, 128, 128)),
        ([(b"gAMA", bytes(4))], (128, 128, 128), (128, 128, 128)),
        ([(b"cHRM", b"short")], (128, 128, 128), (128, 128, 128)),
    ],
)
def test_the_color_space_of_a_png_without_a_profile(tmp_path, chunks, stored, in_srgb):
    pixels = np.full((8, 8, len(stored)), stored, np.uint8)
    content = pillow(Image.fromarray(pixels.squeeze()), "PNG").getvalue()
    path = tmp_path / "a.png"
    path.write_bytes(content[:33] + b"".join(chunk(*each) for each in chunks) + content[33:])
    np.testing.assert_allclose(images.read_rgb(path)[0, 0], in_srgb, atol=1)
    for suffix in (".png", ".tif", *[".webp"] * (len(stored) == 3)):  # and every result says what its values mean
        images.write(images.read(path), tmp_path / f"b{suffix}", quality=100)
        np.testing.assert_allclose(images.read_rgb(tmp_path / f"b{suffix}")[0, 0], in_srgb, atol=2)


def test_gray_with_an_rgb_profile_is_gray_of_srgb():
    gray = np.full((8, 8), 128, np.uint8)
    for profile, value in ((srgb_profile(), 128), (rgb_profile(gamma=1.0), 188)):
        picture = images.read(pillow(Image.fromarray(gray), "JPEG", icc_profile=profile, quality=100))
        assert picture.metadata.icc is None
        assert np.abs(picture.color.astype(int) - value).max() <= 1


@pytest.mark.parametrize("format", ["WEBP", "AVIF", "GIF"])
def test_alpha_in_other_formats(format):
    pixels = gradient(channels=4)
    pixels[..., 3] = 255 * (pixels[..., 3] > 200)
    picture = images.read(pillow(Image.fromarray(pixels), format, **({"lossless": True} if format == "WEBP" else {})))
    assert np.abs(picture.alpha.astype(int) - pixels[..., 3]).max() <= 8


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(format):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    picture = images.read(pillow(cyan, format, icc_profile=cmyk_profile()))
    assert np.abs(picture.color.astype(int) - CYAN_INK).max() <= 6
    assert picture.metadata.icc is not None and picture.metadata.icc[16:20] == b"RGB "
    without = images.read(pillow(cyan, format))
    assert np.abs(without.color.astype(int) - (0, 255, 255)).max() <= 2


def test_cmyk_of_16_bits_stays_at_16_bits():
    pixels = gradient(channels=4, dtype=np.uint16)
    picture = images.read(tiff(pixels, photometric="separated", iccprofile=cmyk_profile()))
    assert picture.bits == 16 and picture.color.shape == (30, 40, 3)
    assert len(np.unique(picture.color)) > 256


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_pictures_come_upright(orientation, format):
    image = Image.fromarray(gradient())
    picture = images.read(pillow(image, format, exif=b"Exif\0\0" + exif(orientation)))
    as_stored = Image.open(pillow(image, format, exif=b"")).convert("RGB")
    as_stored.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(picture.color, np.asarray(ImageOps.exif_transpose(as_stored)))


def test_first_frame_and_first_page():
    red, blue = (Image.new("RGB", (8, 6), color) for color in ("red", "blue"))
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        picture = images.read(pillow(red, format, save_all=True, append_images=[blue]))
        assert picture.color.shape == (6, 8, 3) and picture.color[..., 0].min() > 250


@pytest.mark.parametrize(
    ("pixels", "what"),
    [
        (np.zeros((4, 4), np.float32), "32-bit float"),
        (np.zeros((4, 4), np.float16), "16-bit float"),
        (np.zeros((4, 4), np.uint32), "32-bit integer"),
        (np.zeros((4, 4), np.int16), "16-bit signed integer"),
    ],
)
def test_tiffs_of_measurements_are_refused_by_name(tmp_path, pixels, what):
    path = tmp_path / "elevation.tif"
    tifffile.imwrite(path, pixels)
    with pytest.raises(ImageError, match=rf"elevation\.tif: holds {what} values"):
        images.read(path)


def test_read_rgb_of_anything(tmp_path):
    for name, pixels in {"gray": gradient(channels=1, dtype=np.uint16)[..., 0], "rgba": gradient(channels=4)}.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
        rgb = images.read_rgb(path)
        assert rgb.shape == (30, 40, 3) and rgb.dtype == np.uint8 and rgb.flags.c_contiguous


def test_read_from_a_pipe():
    pixels = gradient()
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(imagecodecs.png_encode(pixels))
    with os.fdopen(reading, "rb") as file:
        np.testing.assert_array_equal(images.read(file).color, pixels)
