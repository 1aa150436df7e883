"""Mutated files of every format are read, or refused in one line that names them: no traceback, crash, hang or bomb.

Each mutant is read in a child process with bounded memory, frames included, and what was read is written and read
again. ``SR_FUZZ=20000`` sets the number of mutants; those of one number are always the same. A mutant that fails is
kept in the test's temporary folder.
"""

import io
import itertools
import multiprocessing
import os
import random
import resource
import traceback
import zlib
from functools import cache

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from sr_cli import images
from sr_cli.errors import ImageError, OutputError
from sr_cli.images.reading import is_heif_available
from support.pictures import XMP, exif, rgb_profile

MUTANTS = int(os.environ.get("SR_FUZZ", "320"))
MAX_PIXELS = 4_000_000
MAX_SECONDS = 10
MAX_MEMORY = 12 << 30  # of address space; the libraries alone reserve some of it
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@pytest.mark.slow
def test_no_mutant_does_harm(tmp_path):
    samples = sample_files()
    names = sorted(samples)
    failures = []
    child = Child(tmp_path)
    for case in range(MUTANTS):
        generator = random.Random(case)
        name = names[case % len(names)]
        content = mutate(samples[name], generator, other=samples[generator.choice(names)])
        if problem := child.run(content, out_format=list(images.FORMATS)[case % len(images.FORMATS)]):
            (tmp_path / f"{case}-{name}").write_bytes(content)
            failures.append(f"case {case} ({name}): {problem}")
    child.stop()
    assert not failures, "\n".join(failures[:20])


class Child:
    """A process that reads mutants; it is replaced when it dies or takes too long."""

    def __init__(self, folder):
        self._folder = folder
        self._start()

    def run(self, content: bytes, out_format: str) -> str | None:
        """What went wrong with one mutant, if anything."""
        self._connection.send((content, out_format))
        try:
            if self._connection.poll(MAX_SECONDS):
                return self._connection.recv()
            problem = f"no answer within {MAX_SECONDS} s"
        except (EOFError, ConnectionError):
            problem = "crash"
        self.stop()
        self._start()
        return problem

    def stop(self) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, self._folder), daemon=True)
        self._process.start()
        there.close()
        assert self._connection.recv() == "ready"


def serve(connection, folder) -> None:
    """Answer each mutant with the problem it causes, or ``None``."""
    images.to_tensor(images.Picture(color=np.zeros((1, 1, 3), np.uint8)))  # imports torch
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    connection.send("ready")
    while True:
        content, out_format = connection.recv()
        try:
            connection.send(problem_of(content, folder / "mutant", out_format))
        except Exception:
            connection.send(traceback.format_exc())


def problem_of(content: bytes, path, out_format: str) -> str | None:
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


def mutate(content: bytes, generator: random.Random, *, other: bytes) -> bytes:
    """Change one to six places, mostly near the start, where the structure is."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        at = int(len(changed) * generator.random() ** generator.choice((1, 3)))
        length = generator.choice((1, 2, 4, 8, 64))
        start = generator.randrange(len(other))
        size = generator.choice((1, 2, 4))
        number = generator.choice(INTERESTING) & (1 << 8 * size) - 1
        where, replacement = generator.choice((
            (slice(at, at + 1), generator.randbytes(1)),
            (slice(at, at + size), number.to_bytes(size, generator.choice(("little", "big")))),
            (slice(at, None), b""),
            (slice(at, at + length), b""),
            (slice(at, at), generator.randbytes(length)),
            (slice(at, at + length), bytes(length)),
            (slice(at, at + length), other[start : start + length]),
        ))  # fmt: skip
        changed[where] = replacement
    # PNGs with wrong checksums are refused at once; half of them get right ones.
    return with_checksums(bytes(changed)) if generator.random() < 0.5 else bytes(changed)


def with_checksums(content: bytes) -> bytes:
    """Correct the checksum of every chunk of a PNG; other files are returned as they are."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    whole, at = content[:8], 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : end]
        whole += content[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at = end + 4
    return whole + content[at:]


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
