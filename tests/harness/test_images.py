"""Mutated files of every format are read, or refused in one line that names them: no traceback, crash, hang or bomb.

Each is read in a child process with bounded memory, frames included, and what was read is written and read again.
"""

import io
import itertools
import random
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from sr_cli import images
from sr_cli.errors import ImageError, OutputError
from sr_cli.images.reading import is_heif_available
from support.harness import cases, failures_of, mutate
from support.pictures import XMP, exif, rgb_profile

MAX_PIXELS = 4_000_000


@pytest.mark.slow
def test_no_mutated_picture_does_harm(tmp_path):
    samples = sample_files()
    names, formats = sorted(samples), list(images.FORMATS)

    def mutants():
        for case in cases(160, long=20_000):
            generator = random.Random(case)
            name = names[case % len(names)]
            content = mutate(samples[name], generator, other=samples[generator.choice(names)])
            yield name, content, formats[case % len(formats)]

    failures = failures_of(problem_of, mutants(), tmp_path)
    assert not failures, "\n".join(failures[:20])


def problem_of(_: str, content: bytes, folder: Path, out_format: str) -> str | None:
    path = folder / "mutant"
    path.write_bytes(content)
    try:
        picture = images.read(path, max_pixels=MAX_PIXELS)
        check_colors(picture)
        with images.open_animation(path, max_pixels=MAX_PIXELS) as animation:
            for frame in itertools.islice(animation.frames, 5):
                check_colors(frame.picture)
    except ImageError as error:
        message = str(error)
        return None if message.startswith(f"{path}: ") and "\n" not in message else f"message {message!r}"
    output = path.with_name("output")
    try:
        images.write(picture, output, format=out_format)
    except (ImageError, OutputError) as error:
        return f"output after {error}" if output.exists() else None
    shape = images.read(output).color.shape
    output.unlink()
    return None if shape[:2] == picture.color.shape[:2] else f"{picture.color.shape} became {shape}"


def check_colors(picture: images.Picture) -> None:
    tensor = images.to_tensor(picture)
    assert tensor.isfinite().all() and tensor.min() >= 0 and tensor.max() <= 1
    assert images.encode_color(picture, tensor[0].permute(1, 2, 0).numpy()).shape == picture.color.shape


@cache
def sample_files() -> dict[str, bytes]:
    """Small files of every format and many of their variants."""
    y, x = np.mgrid[0:1:37j, 0:1:53j]
    planes = np.stack([x, y, x * y, 1 - x * x], axis=-1)
    rgba = (planes * 255).astype(np.uint8)
    deep = (planes * 65535).astype(np.uint16)
    rgb = np.ascontiguousarray(rgba[..., :3])
    still, clear = Image.fromarray(rgb), Image.fromarray(rgba)
    frames = [Image.fromarray(np.roll(rgba, 5 * shift, axis=1)) for shift in range(3)]
    icc = rgb_profile()
    metadata = {"exif": b"Exif\0\0" + exif(6), "icc_profile": icc}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    text.add_text("parameters", "a heron " * 20, zip=True)
    moving = {"save_all": True, "append_images": frames[1:], "duration": [50, 60, 70], "loop": 0}

    def pillow(image: Image.Image, format: str, **options) -> bytes:
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()

    def tiff(pixels: np.ndarray, **options) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, **options)
        return file.getvalue()

    def sr(pixels: np.ndarray, format: str, quality: int | None = None) -> bytes:
        file = io.BytesIO()
        about = images.Metadata(icc=icc, exif=exif(1), xmp=XMP, dpi=(300, 300))
        picture = images.Picture(color=pixels[..., :3], alpha=pixels[..., 3], metadata=about)
        images.write(picture, file, format=format, quality=quality)
        return file.getvalue()

    samples = {
        "metadata.png": pillow(still, "PNG", pnginfo=text, **metadata),
        "rgba-16.png": sr(deep, "PNG"),
        "gray-16.png": imagecodecs.png_encode(np.ascontiguousarray(deep[..., 0])),
        "palette.png": pillow(still.quantize(32), "PNG", transparency=3),
        "black-and-white.png": pillow(still.convert("1"), "PNG"),
        "moving.png": pillow(frames[0], "PNG", **moving),
        "metadata.jpg": pillow(still, "JPEG", xmp=XMP, dpi=(300, 300), **metadata),
        "progressive.jpg": pillow(still, "JPEG", progressive=True, subsampling=2, restart_marker_rows=1),
        "gray.jpg": pillow(still.convert("L"), "JPEG"),
        "cmyk.jpg": pillow(still.convert("CMYK"), "JPEG"),
        "lossy.webp": pillow(still, "WEBP", **metadata),
        "lossless.webp": pillow(clear, "WEBP", lossless=True),
        "moving.webp": pillow(frames[0], "WEBP", **moving),
        "rgba-16.tif": sr(deep, "TIFF"),
        "big-tiles.tif": tiff(rgb, photometric="rgb", bigtiff=True, tile=(16, 16), compression="lzw", predictor=True),
        "planes-big-endian.tif": tiff(np.moveaxis(deep, -1, 0), photometric="rgb", byteorder=">", compression="zlib"),
        "jpeg.tif": tiff(rgb, photometric="ycbcr", compression="jpeg"),
        "packbits.tif": pillow(still, "TIFF", compression="packbits", icc_profile=icc),
        "fax.tif": pillow(still.convert("1"), "TIFF", compression="group4"),
        "palette.tif": pillow(still.quantize(32), "TIFF"),
        "cmyk.tif": pillow(still.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "ycbcr.tif": pillow(still.convert("YCbCr"), "TIFF"),
        "rgb.bmp": pillow(still, "BMP"),
        "palette.bmp": pillow(still.quantize(32), "BMP"),
        "rgba.avif": pillow(clear, "AVIF", speed=10, **metadata),
        "deep.avif": imagecodecs.avif_encode(deep[..., :3] >> 6, bitspersample=10, primaries=9, transfer=16, matrix=9),
        "moving.avif": pillow(frames[0], "AVIF", speed=10, **moving),
        "lossless-16.jxl": sr(deep, "JPEGXL", quality=100),
        "lossy.jxl": sr(rgba, "JPEGXL"),
        "transcoded.jxl": imagecodecs.jpegxl_encode_jpeg(pillow(still, "JPEG", xmp=XMP, **metadata)),
        "moving.jxl": imagecodecs.jpegxl_encode(np.stack([rgb, 255 - rgb]), lossless=True, photometric="rgb"),
        "jpeg-xl.tif": tiff(rgb, photometric="rgb", compression="jpegxl"),
        "still.gif": pillow(still.convert("L"), "GIF"),
        "moving.gif": pillow(frames[0], "GIF", disposal=2, **moving),
    }
    if is_heif_available():
        samples["rgb.heic"] = pillow(still, "HEIF", **metadata)
    return samples


@pytest.mark.parametrize("name", sorted(sample_files()))
def test_the_files_before_mutation_are_read(name):
    assert images.read(io.BytesIO(sample_files()[name])).color.shape[:2] in ((37, 53), (53, 37))
