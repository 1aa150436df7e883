"""Files that are missing, truncated, mislabeled or not images end in a one-line error that names them."""

import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from sr_cli import images
from sr_cli.errors import ImageError
from support.pictures import exif, gradient, rgb_profile

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "GIF")


def content_of(format: str) -> bytes:
    file = io.BytesIO()
    metadata = images.Metadata(icc=rgb_profile(), exif=exif(1))
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    images.write(images.Picture(color=noise, metadata=metadata), file, format=format)
    return file.getvalue()


def message_of(path) -> str:
    with pytest.raises(ImageError) as caught:
        images.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_is_cut_off(tmp_path, format):
    whole = content_of(format)
    for share in (0.2, 0.5, 0.9):
        path = tmp_path / f"cut.{format.lower()}"
        path.write_bytes(whole[: int(share * len(whole))])
        message_of(path)


def test_a_text_named_png(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("This is not a picture.\n" * 10)
    assert "is not an image" in message_of(path)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\xd8", b"GIF89a", b"RIFF1234WEBP", b"BM"])
def test_a_beginning_and_nothing_else(tmp_path, content):
    path = tmp_path / "beginning.png"
    path.write_bytes(content)
    message_of(path)


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    assert "is empty" in message_of(tmp_path / "empty.png")


def test_paths_that_are_no_files(tmp_path):
    assert "no such file" in message_of(tmp_path / "missing.png")
    assert "is a folder" in message_of(tmp_path)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "cannot be read" in message_of(tmp_path / "loop.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    assert "no such file" in message_of(tmp_path / "dangling.png")
    assert "cannot be read" in message_of(tmp_path / ("long" * 100 + ".png"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "locked.png"
    path.write_bytes(content_of("PNG"))
    path.chmod(0)
    assert "Permission denied" in message_of(path)


def test_a_device(tmp_path):
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert "is a device" in message_of(tmp_path / "zero.png")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_that_claims(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")


def test_decompression_bombs_are_not_unpacked(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_that_claims(100_000, 100_000))
    assert "100000 × 100000 pixels, more than the limit of 268.435 megapixels" in message_of(path)
    path.write_bytes(png_that_claims(2**31 - 1, 2**31 - 1))
    assert "more than the limit" in message_of(path)


@pytest.mark.parametrize("format", FORMATS)
def test_the_limit_is_adjustable_and_exact(format):
    file = io.BytesIO(content_of(format))
    assert images.read(file, max_pixels=80 * 60).color.shape == (60, 80, 3)
    for limit in (80 * 60 - 1, 100):
        with pytest.raises(ImageError, match="limit of"):
            images.read(file, max_pixels=limit)


@pytest.mark.slow
def test_a_limit_above_that_of_pillow_holds(tmp_path):
    size = (13_000, 14_000)  # more than twice Pillow's 89 megapixels
    path = tmp_path / "large.gif"
    Image.new("P", size).save(path)
    before = Image.MAX_IMAGE_PIXELS
    assert images.read(path).color.shape[:2] == size[::-1]
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.slow
def test_a_profile_that_unpacks_without_end_is_passed_over(tmp_path):
    bomb = zlib.compress(bytes(200_000_000), 1)
    content = content_of("PNG")
    path = tmp_path / "profile.png"
    path.write_bytes(content[:33] + png_chunk(b"iCCP", b"x\0\0" + bomb) + content[33:])
    assert images.read(path).metadata.icc != bytes(200_000_000)


def test_tiff_whose_directory_points_to_itself(tmp_path):
    path = tmp_path / "circle.tif"
    path.write_bytes(content_of("TIFF"))
    with tifffile.TiffFile(path) as tiff:
        directory = tiff.pages.first.offset
        link = directory + 2 + 12 * len(tiff.pages.first.tags)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, link, directory)
    path.write_bytes(content)
    assert images.read(path).color.shape == (60, 80, 3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ImageWidth": 8192, "ImageLength": 8192, "SamplesPerPixel": 60}, "channels"),
        ({"ImageWidth": 16384, "ImageLength": 16384}, "more than its file can hold"),
    ],
)
def test_tiff_that_would_take_memory_that_it_has_no_pixels_for(tmp_path, changes, named):
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name, value in changes.items():
            tiff.pages.first.tags[name].overwrite(value)
    tracemalloc.start()
    with pytest.raises(ImageError, match=named):
        images.read(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_tiff_with_more_tiles_than_bytes(tmp_path):
    path = tmp_path / "tiles.tif"
    tags = ((256, 16384), (257, 16384), (258, 8), (259, 1), (262, 1), (277, 1), (322, 1), (323, 1), (324, 8), (325, 1))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    with pytest.raises(ImageError, match="more than its file can hold"):
        images.read(path)


def test_a_file_that_lies_about_its_suffix_is_read_for_what_it_is(tmp_path):
    path = tmp_path / "really-a.png"
    path.write_bytes(content_of("JPEG"))
    assert images.read(path).format == "JPEG"


def test_formats_that_are_not_on_the_list_are_refused(tmp_path):
    path = tmp_path / "picture.ppm"
    Image.fromarray(gradient()).save(path)
    assert "is not an image in a supported format" in message_of(path)


def test_names_are_in_the_message_as_they_are(tmp_path):
    for name in ("new\nline.png", "[red]brackets[].png", "-dash.png", "🦩.png"):
        (tmp_path / name).write_bytes(b"x")
        message_of(tmp_path / name)


def test_heif_without_its_plug_in_names_the_remedy(tmp_path, monkeypatch):
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    monkeypatch.setattr("sr_cli.images.reading.is_heif_available", lambda: False)
    assert "pip install pillow-heif" in message_of(path)
