"""What is written can be read elsewhere, goes out as it came in, and appears atomically."""

import io
import os
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sr_cli import images
from sr_cli.errors import ImageError, OutputError
from support.fast_python import python
from support.pictures import gradient

SUFFIXES = ("png", "jpg", "webp", "tif", "bmp", "avif", "gif", "jxl")


def picture_of(channels: int, dtype=np.uint8, *, format: str = "PNG", **size: int) -> images.Picture:
    pixels = gradient(channels=channels, dtype=dtype, **size)
    colors = 1 if channels < 3 else 3
    alpha = pixels[..., -1] if channels in (2, 4) else None
    return images.Picture(color=pixels[..., :colors], alpha=alpha, format=format)


def encoded(picture: images.Picture, format: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    images.write(picture, file, format=format, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.slow
def test_other_libraries_read_the_same_pixels(format, channels, dtype):
    # more than two bands of rows
    picture = picture_of(channels, dtype, height=1200, width=1000)
    file = encoded(picture, format)
    decoded = imagecodecs.png_decode(file.read()) if format == "PNG" else tifffile.imread(file)
    expected = picture.color if picture.alpha is None else np.dstack([picture.color, picture.alpha])
    np.testing.assert_array_equal(np.atleast_3d(decoded), expected)
    if dtype == np.uint8:
        file.seek(0)
        np.testing.assert_array_equal(np.atleast_3d(np.asarray(Image.open(file))), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_lossless_formats_give_the_picture_back(format, channels, dtype):
    picture = picture_of(channels, dtype, format=format)
    again = images.read(encoded(picture, format))
    np.testing.assert_array_equal(again.color, picture.color)
    assert again.bits == picture.bits and again.is_gray == picture.is_gray
    if picture.alpha is None:
        assert again.alpha is None
    else:
        np.testing.assert_array_equal(again.alpha, picture.alpha)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    format=st.sampled_from(["PNG", "TIFF"]),
    level=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_any_size_of_noise_comes_back(height, width, channels, dtype, format, level, seed):
    noise = np.random.default_rng(seed).integers(
        0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True
    )
    picture = images.Picture(
        color=noise[..., : channels - 1 + channels % 2], alpha=None if channels % 2 else noise[..., -1]
    )
    again = images.read(encoded(picture, format, png_level=level))
    np.testing.assert_array_equal(again.color, picture.color)
    if picture.alpha is not None:
        np.testing.assert_array_equal(again.alpha, picture.alpha)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_takes_every_picture(tmp_path, suffix, channels, dtype):
    picture = picture_of(channels, dtype)
    path = tmp_path / f"new folder/picture.{suffix}"
    images.write(picture, path)
    again = images.read(path)
    assert again.format == images.format_of_suffix(path)
    lost = images.losses(picture, again.format)
    assert ("alpha" in lost) == (picture.alpha is not None and again.alpha is None)
    assert ("16 bit" in lost) == (picture.bits > again.bits)
    if picture.alpha is None and suffix != "gif":
        error = np.abs(again.color / (2.0**again.bits - 1) - picture.color / (2.0**picture.bits - 1))
        assert error.mean() < 0.01


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "gif", "jxl"])
def test_gray_stays_gray(tmp_path, suffix):
    images.write(picture_of(1), tmp_path / f"gray.{suffix}")
    assert images.read(tmp_path / f"gray.{suffix}").is_gray


@pytest.mark.parametrize("format", ["JPEG", "BMP"])
def test_formats_without_alpha_put_transparent_parts_onto_white(format):
    picture = images.Picture(color=np.zeros((16, 16, 3), np.uint8), alpha=np.zeros((16, 16), np.uint8))
    assert images.losses(picture, format) == ["alpha"]
    again = images.read(encoded(picture, format))
    assert again.color.min() > 250 and again.alpha is None


def test_heif_needs_no_exif():
    pytest.importorskip("pillow_heif")
    again = images.read(encoded(picture_of(3), "HEIF"))
    assert again.format == "HEIF" and np.abs(again.color.astype(int) - picture_of(3).color).mean() < 2


def test_quality_counts():
    sizes = {format: [len(encoded(picture_of(3), format, quality=q).getvalue()) for q in (30, 90)]
             for format in ("JPEG", "WEBP", "AVIF")}  # fmt: skip
    assert all(small < large for small, large in sizes.values())
    lossless = images.read(encoded(picture_of(3), "WEBP", quality=100))
    np.testing.assert_array_equal(lossless.color, picture_of(3).color)


def test_png_is_written_where_there_is_no_isal():
    program = (
        "import io, sys; sys.modules['isal'] = None; import numpy as np; from sr_cli import images\n"
        "picture = images.Picture(color=np.arange(3000, dtype=np.uint16).reshape(20, 50, 3), alpha=None)\n"
        "file = io.BytesIO(); images.write(picture, file, format='PNG'); file.seek(0)\n"
        "sys.exit(0 if (images.read(file).color == picture.color).all() else 'not the same')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_level_counts():
    smooth = picture_of(3, height=300, width=400)
    assert len(encoded(smooth, "PNG", png_level=9).getvalue()) < len(encoded(smooth, "PNG", png_level=1).getvalue())


def test_nothing_is_replaced_unasked(tmp_path):
    path = tmp_path / "picture.png"
    images.write(picture_of(1), path)
    with pytest.raises(OutputError, match=r"picture\.png: already exists"):
        images.write(picture_of(3), path, overwrite=False)
    assert images.read(path).is_gray


def test_an_unknown_suffix_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"'\.xyz'"):
        images.write(picture_of(3), tmp_path / "picture.xyz")


@pytest.mark.parametrize(("format", "side"), [("JPEG", 65_501), ("WEBP", 16_384), ("GIF", 65_536)])
def test_a_side_that_is_too_long_is_refused(tmp_path, format, side):
    picture = images.Picture(color=np.zeros((1, side, 1), np.uint8))
    with pytest.raises(ImageError, match=f"{side} × 1 pixels don't fit into a {format} file"):
        images.write(picture, tmp_path / "long", format=format)
    assert list(tmp_path.iterdir()) == []
    images.write(picture, tmp_path / "long.png")


FULL = """
import sys, resource, numpy as np
from pathlib import Path
from sr_cli import errors, images
picture = images.Picture(color=np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for suffix in sys.argv[2:]:
    try:
        images.write(picture, Path(sys.argv[1]) / f"picture.{suffix}")
    except errors.OutputError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_names_it(tmp_path):
    done = subprocess.run([python(), "-c", FULL, tmp_path, *SUFFIXES], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(SUFFIXES) and done.stderr == ""
    for line, suffix in zip(lines, SUFFIXES, strict=True):
        assert line.startswith(f"{tmp_path}/picture.{suffix}: no space left on the disk of {tmp_path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "JPEGXL"])
def test_through_a_pipe(format):
    picture = images.Picture(color=np.full((9, 7, 3), 200, np.uint8))
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        images.write(picture, file, format=format)
    with os.fdopen(reading, "rb") as file:
        again = images.read(file)
    assert again.format == format and np.abs(again.color.astype(int) - 200).max() <= 4


MEMORY = """
import sys, numpy as np, torch
from pathlib import Path
from sr_cli import images
from sr_cli.system.device import peak_memory
cpu = torch.device("cpu")
color = np.zeros((8000, 4000, 3), np.uint8)
color[:] = np.arange(4000, dtype=np.uint16)[:, None] % 251
for suffix in sys.argv[2:]:
    path = Path(sys.argv[1]) / f"large.{suffix}"
    images.write(images.Picture(color=color[:1200, :900]), path)
    before = peak_memory(cpu)
    images.write(images.Picture(color=color), path)
    print((peak_memory(cpu) - before) / color.nbytes)
"""


@pytest.mark.slow
def test_a_large_picture_is_written_with_little_memory_beyond_it(tmp_path):
    limits = {"png": 0.4, "tif": 0.4, "jpg": 1.5}  # JPEG: Pillow's copy, of four bytes a pixel
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path, *limits], stdout=subprocess.PIPE, check=True)
    shares = [float(line) for line in done.stdout.splitlines()]
    assert all(share < limit for share, limit in zip(shares, limits.values(), strict=True))
