"""Image file → `Picture`."""

import io
import logging
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from sr_cli.config import MAX_PIXELS
from sr_cli.errors import ImageError
from sr_cli.images.codecs.isobmff import Properties, read_properties
from sr_cli.images.codecs.jpeg import decode_smoothly, quality_of
from sr_cli.images.exif_xmp import make_upright, says_adobe_rgb
from sr_cli.images.formats import FORMATS, Format
from sr_cli.images.icc import adobe_rgb_profile, described_by_cicp, in_srgb, is_srgb, srgb_profile, to_srgb
from sr_cli.images.picture import Decoded, Metadata, Picture, Unfit, check_size, describe_limit, rescale, to_8_bit

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_pillow_limit = threading.Lock()

# The decoders' warnings either precede an error or don't matter.
warnings.filterwarnings("ignore", module=r"PIL\.")
for _library in ("PIL", "imagecodecs", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def read(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS, smooth_jpeg: int = 0) -> Picture:
    """Read a picture: upright, in its own color space, at its own bit depth.

    An animation gives its first frame, a TIFF its first page. Palettes become colors, CMYK becomes sRGB.

    Args:
        source: a file, or an open binary file such as a pipe.
        max_pixels: larger pictures are refused before they are unpacked.
        smooth_jpeg: JPEG files of a lower quality are decoded by `decode_smoothly`.

    Raises:
        ImageError: missing, unreadable, not an image, damaged, of an unsupported kind, or over ``max_pixels``.
    """
    with open_seekable(source, max_pixels) as (file, name), raise_image_errors(name):
        return to_picture(decode(file, max_pixels, smooth_jpeg=smooth_jpeg))


def read_rgb(path: Path, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read the colors of a picture in sRGB, upright, ``(H, W, 3)`` uint8; alpha is dropped. Errors as in `read`."""
    picture = in_srgb(read(path, max_pixels=max_pixels))
    return np.ascontiguousarray(np.broadcast_to(to_8_bit(picture.color), (picture.height, picture.width, 3)))


@lru_cache(maxsize=1)
def is_heif_available() -> bool:
    """Whether Pillow can read and write HEIF; the first call registers the plug-in."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


@contextmanager
def open_seekable(source: Path | BinaryIO, max_pixels: int) -> Iterator[tuple[BinaryIO, str]]:
    """Open ``source`` as a seekable file; yields it, and its name for messages. An `ImageError` if that fails."""
    if not isinstance(source, Path):
        yield _buffer_pipe(source, max_pixels), str(getattr(source, "name", "input"))
        return
    try:
        kind = source.stat().st_mode
        if stat.S_ISDIR(kind):
            raise ImageError(f"{source}: is a folder, not an image")
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise ImageError(f"{source}: is a device, not an image")
        with source.open("rb") as file:
            yield _buffer_pipe(file, max_pixels), str(source)
    except FileNotFoundError:
        raise ImageError(f"{source}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{source}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _buffer_pipe(file: BinaryIO, max_pixels: int) -> BinaryIO:
    if file.seekable():
        return file
    most = 8 * max_pixels + (1 << 26)
    content = file.read(most + 1)
    if len(content) > most:
        raise ImageError(f"{getattr(file, 'name', 'input')}: the pipe delivers more than {most} bytes")
    return io.BytesIO(content)


@contextmanager
def raise_image_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into one `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except Unfit as error:
        raise ImageError(f"{name}: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name}: is too large for this machine's memory") from error
    except Exception as error:  # decoders raise nearly everything: SyntaxError, KeyError, struct.error, zlib.error …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: cannot be decoded; it is damaged or cut off ({reason})") from error


def open_by_pillow(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Open an image of one of `FORMATS` lazily, and check its size; `Unfit` if it is of none, or too large."""
    file.seek(0)
    start = file.read(32)
    file.seek(0)
    if not start:
        raise Unfit("is empty (zero bytes)")
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS and b"avif" not in start and not is_heif_available():
        raise Unfit("is a HEIF image, which needs a plug-in: python -m pip install pillow-heif")
    properties = read_properties(file)
    file.seek(0)
    try:
        with _set_pillow_limit(max_pixels):
            known = [name for name, format in FORMATS.items() if not format.encoder]
            image = Image.open(file, formats=[name for name in known if name != "HEIF" or is_heif_available()])
    except UnidentifiedImageError:
        raise Unfit(f"is not an image in a supported format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise Unfit(f"has more pixels than twice {describe_limit(max_pixels)}") from None
    check_size(image.width, image.height, max_pixels)
    if image.format in ("AVIF", "HEIF"):
        image.info["properties"] = properties
    return image


def load_pixels(image: Image.Image) -> Image.Image:
    """Unpack the pixels of an image whose size has been checked."""
    default = Image.MAX_IMAGE_PIXELS or 0
    with _set_pillow_limit(None) if image.width * image.height > default else nullcontext():
        image.load()
    return image


@contextmanager
def _set_pillow_limit(max_pixels: int | None) -> Iterator[None]:
    """Set Pillow's own limit, a global variable, for a moment."""
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def own_format(file: BinaryIO) -> Format | None:
    """The format of an open file, if it is one that isn't left to Pillow."""
    file.seek(0)
    start = file.read(12)
    return next((each for each in FORMATS.values() if each.decoder and start.startswith(each.signatures)), None)


def decode(file: BinaryIO, max_pixels: int, *, smooth_jpeg: int = 0) -> Decoded:
    """Decode the first picture of an open file by the decoder that keeps its bit depth."""
    format = own_format(file)
    if format and format.decoder:
        return format.decoder(file, max_pixels=max_pixels)
    image = open_by_pillow(file, max_pixels)
    pixels: npt.NDArray[Any] | None = _deep_pixels(file, image)
    if image.format in ("JPEG", "MPO") and (quality_of(image) or 100) < smooth_jpeg:
        pixels = decode_smoothly(image)
    return decode_frame(load_pixels(image)) if pixels is None else decode_frame(image, pixels)


def _deep_pixels(file: BinaryIO, image: Image.Image) -> npt.NDArray[np.uint16] | None:
    """The pixels of an AVIF or HEIF file of 10 or 12 bits, which Pillow reduces to 8; ``None`` of others."""
    bits = image.info.get("bit_depth") or image.info.get("properties", Properties()).bits or 8
    if image.format not in ("AVIF", "HEIF") or not 8 < bits < 16:
        return None
    file.seek(0)
    if image.format == "AVIF":
        stored = imagecodecs.avif_decode(file.read(), 0)
    else:
        from pillow_heif import open_heif

        stored = np.asarray(open_heif(file, convert_hdr_to_8bit=False)) >> (16 - bits)
    if stored.dtype != np.uint16:
        return None
    return rescale(np.atleast_3d(stored), (1 << bits) - 1, 65535)


def decode_frame(image: Image.Image, pixels: npt.NDArray[Any] | None = None) -> Decoded:
    """The current frame of an image that Pillow has loaded, or has opened if its pixels are given."""
    info = image.info
    properties = info.get("properties", Properties())
    metadata = Metadata(
        icc=info.get("icc_profile") or None,
        exif=info.get("exif") or None,
        xmp=info.get("xmp") or None,
        dpi=_usable_dpi(image),
    )
    format = "JPEG" if image.format == "MPO" else str(image.format)
    if pixels is None and image.mode.startswith("I"):  # in mode I, too, gray of 16 bits; in the machine's byte order
        pixels = np.atleast_3d(np.asarray(image).clip(0, 65535).astype(np.uint16))
    if pixels is None:
        image = image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else _expand_palette(image)
        colors = {"L": 1, "LA": 1, "CMYK": 4}.get(image.mode, 3)
        values: npt.NDArray[Any] = np.atleast_3d(np.asarray(image))
    else:
        colors, values = 1 if pixels.shape[2] < 3 else 3, pixels
    if properties.cicp and not metadata.icc:
        metadata = replace(metadata, **described_by_cicp(properties.cicp, colors))
    return Decoded(pixels=values, colors=colors, metadata=metadata, format=format)


def from_pillow(image: Image.Image) -> Picture:
    """The picture that an image of Pillow shows, of any mode: upright, with its profile and metadata."""
    picture = to_picture(decode_frame(load_pixels(image)))
    texts = PngInfo()
    for name, text in image.info.items() if image.format in (None, "PNG") else ():
        if isinstance(name, str) and isinstance(text, str) and name not in ("compression", "XML:com.adobe.xmp"):
            texts.add_text(name, text)
    chunks = tuple((kind, content) for kind, content, *_ in texts.chunks)
    format = picture.format if picture.format in FORMATS else "PNG"
    return replace(picture, format=format, metadata=replace(picture.metadata, png_chunks=chunks))


def _expand_palette(image: Image.Image) -> Image.Image:
    """Convert an image of another mode to gray or RGB, with alpha if it has transparency."""
    if image.mode in ("RGBa", "La"):
        return image.convert("RGBA") if image.mode == "RGBa" else image.convert("LA")
    if image.mode not in ("1", "P", "PA"):
        return image.convert("RGB")
    transparent = "transparency" in image.info or image.mode == "PA"
    if image.mode == "1":
        return image.convert("LA" if transparent else "L")
    palette = np.reshape((image.getpalette("RGB") or [0, 0, 0]), (-1, 3))
    is_gray = bool((palette == palette[:, :1]).all())
    expanded = image.convert("RGBA" if transparent else "RGB")
    return expanded.convert("LA" if transparent else "L") if is_gray else expanded


def _usable_dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi: Any = image.info.get("dpi")
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") not in (1, 2) and dpi == (72, 72):
        return None  # Pillow makes this up for EXIF without a resolution
    try:
        x, y = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e9 and 0 < y < 1e9 else None


def to_picture(decoded: Decoded) -> Picture:
    """Turn the pixels upright, separate alpha from color, and convert CMYK to sRGB."""
    metadata, orientation = make_upright(decoded.metadata, decoded.orientation)
    pixels = decoded.pixels
    color, alpha, notes = pixels[..., : decoded.colors], None, decoded.notes
    if pixels.shape[2] > decoded.colors:
        alpha = _orient(pixels[..., decoded.colors], orientation)
    if decoded.colors == 4:
        color = _cmyk_to_rgb(color, metadata.icc)
        metadata = replace(metadata, icc=srgb_profile(), cicp=None)
        notes += ("CMYK becomes sRGB",)
    elif decoded.colors == 1 and metadata.icc and metadata.icc[16:20] == b"RGB ":  # no reader takes it for gray
        color = _gray_to_srgb(color, metadata.icc)
        metadata = replace(metadata, icc=None)
    elif decoded.colors == 3 and not metadata.icc and decoded.format in ("JPEG", "TIFF", "WEBP"):
        metadata = replace(metadata, icc=adobe_rgb_profile() if says_adobe_rgb(metadata.exif) else None)
    color = _orient(color, orientation)
    return Picture(color=color, alpha=alpha, metadata=metadata, format=decoded.format, notes=notes)


def _gray_to_srgb(gray: npt.NDArray[Any], icc: bytes) -> npt.NDArray[Any]:
    """Gray that is described by an RGB profile, in the grays of sRGB; as it is, if the profile is damaged."""
    rgb = None if is_srgb(icc) else to_srgb(np.repeat(gray, 3, axis=2), icc)
    return gray if rgb is None else rgb[..., :1]


def _cmyk_to_rgb(cmyk: npt.NDArray[Any], icc: bytes | None) -> npt.NDArray[Any]:
    """sRGB by the inks' ICC profile; without one, by plain subtraction."""
    rgb = to_srgb(np.ascontiguousarray(cmyk), icc) if icc else None
    if rgb is not None:
        return rgb
    top = int(np.iinfo(cmyk.dtype).max)
    paper = top - cmyk.astype(np.uint32)
    return ((paper[..., :3] * paper[..., 3:] + top // 2) // top).astype(cmyk.dtype)


def _orient(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply EXIF's orientation; the result is contiguous."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
