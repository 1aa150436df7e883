"""Mutate image files of every format and see that reading them ends in pixels or in one line of error.

It makes the files itself. Each mutant is read in a worker process (so that a crash or a hang is seen and not suffered),
every frame of it too, and what could be read is written and read again. A failure is any exception but `ImageError` and
`OutputError`, a message of more than one line or without the file's name, a crash, a hang, or an output under its final
name after an error. It prints a table by kind of file and ends with code 1 if anything failed.

    python benchmarks/fuzz_images.py --cases 5000 --seed 1 --keep failed/
"""

import argparse
import io
import itertools
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from sr_cli import images
from sr_cli.errors import ImageError, OutputError
from sr_cli.images.plugins import heif_is_there

MAX_PIXELS = 4_000_000
LONGEST_SECONDS = 30.0
MOST_MEMORY = 12 << 30
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def main() -> int:
    """Run the cases, print the table, and say whether anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000, help="how many mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same mutants")
    parser.add_argument("--only", default="", help="only kinds of file whose name contains this")
    parser.add_argument("--keep", type=Path, help="a folder for the files that failed")
    options = parser.parse_args()

    samples = {name: content for name, content in sample_files().items() if options.only in name}
    outcomes: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    slowest = (0.0, "")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Worker(Path(folder)) as worker:
        for case in range(options.cases):
            generator = random.Random(f"{options.seed} {case}")
            name = sorted(samples)[case % len(samples)]
            content = mutated(samples[name], generator, other=samples[generator.choice(sorted(samples))])
            began = time.monotonic()
            outcome, detail = worker.run(content, case)
            slowest = max(slowest, (time.monotonic() - began, f"case {case} ({name})"))
            outcomes[name, outcome] += 1
            if outcome not in ("read", "refused"):
                failures.append(f"case {case} ({name}): {outcome}\n{detail}")
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{case}-{name}").write_bytes(content)
        noise = worker.noise()
    seconds = time.monotonic() - start

    print(f"{'kind of file':<28} {'mutants':>8} {'read':>8} {'refused':>8} {'failed':>8}")
    for name in sorted(samples):
        counts = {outcome: count for (kind, outcome), count in outcomes.items() if kind == name}
        read, refused, every = counts.get("read", 0), counts.get("refused", 0), sum(counts.values())
        print(f"{name:<28} {every:>8} {read:>8} {refused:>8} {every - read - refused:>8}")
    print(f"{options.cases} mutants, {len(failures)} failed, {seconds:.0f} s; slowest {slowest[0]:.1f} s: {slowest[1]}")
    if noise:
        print(f"on stderr: {len(noise)} characters, beginning with {noise[:300]!r}")
    for failure in failures[:20]:
        print(f"\n{failure}")
    return 1 if failures or noise else 0


class Worker:
    """A process that reads mutants; it is replaced when it dies or takes too long."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "stderr"
        self._context = multiprocessing.get_context("spawn")

    def __enter__(self) -> "Worker":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def run(self, content: bytes, case: int) -> tuple[str, str]:
        """The outcome of one mutant, ``read`` or ``refused`` or what went wrong, and details."""
        self._connection.send((content, case))
        try:
            if self._connection.poll(LONGEST_SECONDS):
                return self._connection.recv()
            outcome = f"hang: no answer in {LONGEST_SECONDS:.0f} s"
        except (EOFError, ConnectionError):
            self._process.join()
            outcome = f"crash: exit code {self._process.exitcode}"
        self._process.kill()
        self._process.join()
        self._start()
        return outcome, ""

    def noise(self) -> str:
        """What the worker printed on stderr."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _start(self) -> None:
        self._connection, there = self._context.Pipe()
        self._process = self._context.Process(target=work, args=(there, self._folder, self._log), daemon=True)
        self._process.start()
        there.close()


def work(connection: Connection, folder: Path, log: Path) -> None:
    """Read what comes through the connection until it closes."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    formats = itertools.cycle(images.FORMATS)
    while True:
        content, case = connection.recv()
        try:
            connection.send(outcome_of(content, folder / f"mutant {case}", next(formats)))
        except Exception:  # whatever it is, it is the finding
            connection.send(("traceback", traceback.format_exc()))


def outcome_of(content: bytes, path: Path, out_format: str) -> tuple[str, str]:
    """Read a mutant from a file, and its frames; write what was read, and read that."""
    path.write_bytes(content)
    try:
        outcome = attempt(lambda: images.read(path, max_pixels=MAX_PIXELS), path)
        if isinstance(outcome, images.Picture):
            checked(outcome)
            with images.open_animation(path, max_pixels=MAX_PIXELS) as animation:
                frames = attempt(lambda: list(itertools.islice(animation.frames, 5)), path)
            if isinstance(frames, list):
                for frame in frames:
                    checked(frame.picture)
            return written(outcome, path.with_name("output"), out_format)
        return "refused", str(outcome)
    except ImageError as error:  # from the animation's own look at the file
        return ("refused", "") if is_one_line(error, path) else ("message", repr(str(error)))
    finally:
        path.unlink()


def attempt(read: Callable[[], object], path: Path) -> object:
    """What ``read`` returns, or its `ImageError`, whose message must be one line with the path."""
    try:
        return read()
    except ImageError as error:
        if not is_one_line(error, path):
            raise RuntimeError(f"not one line that begins with the name: {str(error)!r}") from error
        return error


def is_one_line(error: Exception, path: Path) -> bool:
    message = str(error)
    return message.startswith(f"{path}: ") and "\n" not in message


def checked(picture: images.Picture) -> None:
    """The colors must be within reach of a network, and back."""
    tensor = images.to_tensor(picture)
    if not (tensor.isfinite().all() and tensor.min() >= 0 and tensor.max() <= 1):
        raise RuntimeError("values outside of [0, 1]")
    images.with_color(picture, tensor, picture.alpha)


def written(picture: images.Picture, path: Path, format: str) -> tuple[str, str]:
    """Write the picture and read it again."""
    try:
        images.write(picture, path, format=format)
    except (ImageError, OutputError) as error:
        return ("output after an error", str(error)) if path.exists() else ("read", "")
    try:
        again = images.read(path)
    finally:
        path.unlink()
    same = again.color.shape[:2] == picture.color.shape[:2]
    return ("read", "") if same else ("changed size", f"{picture.color.shape} → {again.color.shape} as {format}")


def mutated(content: bytes, generator: random.Random, *, other: bytes) -> bytes:
    """The content with one to six changes, most of them near the beginning, where the structure is."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        if not changed:
            break
        at = int(len(changed) * generator.random() ** generator.choice((1, 3)))
        length = generator.choice((1, 2, 4, 8, 64))
        kind = generator.randrange(8)
        if kind == 0:
            changed[at] = generator.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << generator.randrange(8)
        elif kind == 2:
            order = generator.choice(("little", "big"))
            size = generator.choice((1, 2, 4))
            changed[at : at + size] = (generator.choice(INTERESTING) & (1 << 8 * size) - 1).to_bytes(size, order)
        elif kind == 3:
            del changed[at:]
        elif kind == 4:
            del changed[at : at + length]
        elif kind == 5:
            changed[at:at] = generator.randbytes(length)
        elif kind == 6:
            changed[at : at + length] = bytes(length)
        else:
            start = generator.randrange(len(other))
            changed[at : at + length] = other[start : start + length]
    # A PNG whose checksums are wrong is refused at once; half of them get right ones, and are looked into.
    return with_checksums(bytes(changed)) if generator.random() < 0.5 else bytes(changed)


def with_checksums(content: bytes) -> bytes:
    """A PNG with every chunk's checksum put right; anything else as it is."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    whole, at = content[:8], 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : end]
        whole += content[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at = end + 4
    return whole + content[at:]


def sample_files() -> dict[str, bytes]:
    """Small files of every format and many of their kinds, by a name that ends in their suffix."""
    y, x = np.mgrid[0:1:37j, 0:1:53j]
    planes = np.stack([x, y, x * y, 1 - x * x], axis=-1)
    rgba = (planes * 255).astype(np.uint8)
    deep = (planes * 65535).astype(np.uint16)
    rgb, grey = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 0])
    still, clear = Image.fromarray(rgb), Image.fromarray(rgba)
    frames = [Image.fromarray(np.roll(rgba, 5 * shift, axis=1)) for shift in range(3)]
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Heron 1"
    exif.get_ifd(0x8769)[0xA002] = 53
    icc = bytes(
        imagecodecs.cms_profile(
            "rgb", whitepoint=(0.3127, 0.329, 1), primaries=(0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1), gamma=2.2
        )
    )
    with_metadata = {"exif": exif.tobytes(), "icc_profile": icc}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>" * 20, zip=True)
    text.add_text("parameters", "a heron " * 20, zip=True)
    moving = {"save_all": True, "append_images": frames[1:], "duration": [50, 60, 70], "loop": 0}

    def pillow(image: Image.Image, format: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()

    def tiff(pixels: np.ndarray, **options: object) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, **options)
        return file.getvalue()

    def ours(pixels: np.ndarray, format: str) -> bytes:
        file = io.BytesIO()
        metadata = images.Metadata(icc=icc, exif=exif.tobytes()[6:], xmp=b"<x:xmpmeta/>", dpi=(300, 300))
        picture = images.Picture(color=pixels[..., :3], alpha=pixels[..., 3], metadata=metadata)
        images.encode(picture, file, format=format)
        return file.getvalue()

    samples = {
        "rgb-metadata.png": pillow(still, "PNG", pnginfo=text, **with_metadata),
        "rgba-16.png": ours(deep, "PNG"),
        "grey-16.png": imagecodecs.png_encode(np.ascontiguousarray(deep[..., 0])),
        "palette.png": pillow(still.quantize(32), "PNG", transparency=3),
        "black-and-white.png": pillow(still.convert("1"), "PNG"),
        "moving.png": pillow(frames[0], "PNG", **moving),
        "rgb-metadata.jpg": pillow(still, "JPEG", xmp=b"<x:xmpmeta/>", dpi=(300, 300), **with_metadata),
        "progressive.jpg": pillow(still, "JPEG", progressive=True, subsampling=2, restart_marker_rows=1),
        "grey.jpg": pillow(still.convert("L"), "JPEG"),
        "cmyk.jpg": pillow(still.convert("CMYK"), "JPEG"),
        "lossy.webp": pillow(still, "WEBP", **with_metadata),
        "lossless.webp": pillow(clear, "WEBP", lossless=True),
        "moving.webp": pillow(frames[0], "WEBP", **moving),
        "rgba-16.tif": ours(deep, "TIFF"),
        "plain.tif": tiff(rgb, photometric="rgb"),
        "big-tiles.tif": tiff(rgb, photometric="rgb", bigtiff=True, tile=(16, 16), compression="lzw", predictor=True),
        "planes-big-endian.tif": tiff(np.moveaxis(deep, -1, 0), photometric="rgb", byteorder=">", compression="zlib"),
        "jpeg.tif": tiff(rgb, photometric="ycbcr", compression="jpeg"),
        "packbits.tif": pillow(still, "TIFF", compression="packbits", icc_profile=icc),
        "fax.tif": pillow(still.convert("1"), "TIFF", compression="group4"),
        "palette.tif": pillow(still.quantize(32), "TIFF"),
        "cmyk.tif": pillow(still.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "ycbcr.tif": pillow(still.convert("YCbCr"), "TIFF"),
        "float.tif": tiff(planes.astype(np.float32), photometric="rgb"),
        "rgb.bmp": pillow(still, "BMP"),
        "palette.bmp": pillow(still.quantize(32), "BMP"),
        "rgba.bmp": ours(rgba, "BMP"),
        "rgba.avif": pillow(clear, "AVIF", speed=10, **with_metadata),
        "moving.avif": pillow(frames[0], "AVIF", speed=10, **moving),
        "still.gif": pillow(Image.fromarray(grey), "GIF"),
        "moving.gif": pillow(frames[0], "GIF", disposal=2, **moving),
    }
    if heif_is_there():
        samples["rgb.heic"] = pillow(still, "HEIF", **with_metadata)
    for name, content in samples.items():
        expected_refusal = name == "float.tif"
        try:
            images.read(io.BytesIO(content))
            assert not expected_refusal, f"{name} was read"
        except ImageError:
            assert expected_refusal, f"{name} was refused"
    return samples


if __name__ == "__main__":
    sys.exit(main())
