"""Image file → `Picture`."""

import io
import logging
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from sr_cli.errors import ImageError
from sr_cli.images.codecs.png import SIGNATURE as PNG_SIGNATURE
from sr_cli.images.codecs.png import read_png
from sr_cli.images.codecs.tiff_tags import SIGNATURES as TIFF_SIGNATURES
from sr_cli.images.exif_xmp import upright
from sr_cli.images.formats import FORMATS
from sr_cli.images.icc import is_srgb, srgb_profile, to_srgb
from sr_cli.images.picture import Decoded, Metadata, Picture, Unfit, check_size, the_limit, to_8_bit
from sr_cli.images.plugins import heif_is_there

MAX_PIXELS = 1 << 28
"""The largest picture that is read unless the caller allows more: 268 megapixels."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_pillow_limit = threading.Lock()

# What the decoders grumble about on the way is either raised as an error in the end, or of no concern.
warnings.filterwarnings("ignore", module=r"PIL\.")
for _library in ("PIL", "imagecodecs", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def read(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture whole: upright, in its own color space, at its own bit depth.

    Of an animation it is the first frame, of a TIFF the first page. Palettes are resolved, CMYK is converted to sRGB.

    Args:
        source: a file, or an open binary file such as a pipe.
        max_pixels: the most pixels that are unpacked.

    Raises:
        ImageError: missing, unreadable, not an image, damaged, of an unsupported kind, or over ``max_pixels``.
    """
    with opened(source, max_pixels) as (file, name), damage_named(name):
        return finished(decoded(file, max_pixels))


def read_rgb(path: Path, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read the colors of a picture in sRGB, upright, ``(H, W, 3)`` uint8; alpha is dropped. Errors as of `read`."""
    picture = read(path, max_pixels=max_pixels)
    color: npt.NDArray[Any] = picture.color
    icc = picture.metadata.icc
    if icc and not (color.shape[2] == 3 and is_srgb(icc)):
        converted = to_srgb(color, icc)
        color = color if converted is None else converted
    return np.ascontiguousarray(np.broadcast_to(to_8_bit(color), (picture.height, picture.width, 3)))


@contextmanager
def opened(source: Path | BinaryIO, max_pixels: int) -> Iterator[tuple[BinaryIO, str]]:
    """A seekable binary file for ``source``, and the name to use in messages.

    Raises:
        ImageError: there is none, or none that can be read.
    """
    if not isinstance(source, Path):
        yield _seekable(source, max_pixels), str(getattr(source, "name", "input"))
        return
    try:
        kind = source.stat().st_mode
        if stat.S_ISDIR(kind):
            raise ImageError(f"{source}: is a folder, not an image")
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise ImageError(f"{source}: is a device, not an image")
        with source.open("rb") as file:
            yield _seekable(file, max_pixels), str(source)
    except FileNotFoundError:
        raise ImageError(f"{source}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{source}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises over hostile bytes into one `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except Unfit as error:
        raise ImageError(f"{name}: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name}: is too large for this machine's memory") from error
    except Exception as error:  # decoders raise nearly everything: SyntaxError, KeyError, struct.error, zlib.error …
        reason = str(error).strip() or type(error).__name__
        raise ImageError(f"{name}: cannot be decoded; it is damaged or cut off ({reason})") from error


def open_by_pillow(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Open an image lazily, of the known formats only, and check its size.

    Raises:
        Unfit: it is none, or too large.
    """
    file.seek(0)
    start = file.read(32)
    file.seek(0)
    if not start:
        raise Unfit("is empty (zero bytes)")
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS and b"avif" not in start and not heif_is_there():
        raise Unfit("is a HEIF image, which needs a plug-in: pip install pillow-heif")
    try:
        with _limit(max_pixels):
            image = Image.open(file, formats=[name for name in FORMATS if name != "HEIF" or heif_is_there()])
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise Unfit(f"is not an image, or of a format that isn't supported; supported are {known}") from None
    except Image.DecompressionBombError:
        raise Unfit(f"has more pixels than twice {the_limit(max_pixels)}") from None
    check_size(image.width, image.height, max_pixels)
    return image


def loaded(image: Image.Image) -> Image.Image:
    """The image with its pixels unpacked; its size has been checked."""
    default = Image.MAX_IMAGE_PIXELS or 0
    with _limit(None) if image.width * image.height > default else nullcontext():
        image.load()
    return image


@contextmanager
def _limit(max_pixels: int | None) -> Iterator[None]:
    """Pillow's own limit, a global variable, set for a moment."""
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _seekable(file: BinaryIO, max_pixels: int) -> BinaryIO:
    if file.seekable():
        return file
    most = 8 * max_pixels + (1 << 26)
    content = file.read(most + 1)
    if len(content) > most:
        raise ImageError(f"{getattr(file, 'name', 'input')}: more than {most} bytes come out of this pipe")
    return io.BytesIO(content)


def decoded(file: BinaryIO, max_pixels: int) -> Decoded:
    """The first picture of an open file, by the decoder that keeps its depth."""
    file.seek(0)
    start = file.read(8)
    if start == PNG_SIGNATURE:
        return read_png(file, max_pixels=max_pixels)
    if start[:4] in TIFF_SIGNATURES:
        from sr_cli.images.codecs.tiff_read import read_tiff  # its library is slow to load, and most files are none

        return read_tiff(file, max_pixels=max_pixels)
    return decoded_by_pillow(loaded(open_by_pillow(file, max_pixels)))


def decoded_by_pillow(image: Image.Image) -> Decoded:
    """The current frame of a loaded image."""
    info = image.info
    metadata = Metadata(
        icc=info.get("icc_profile") or None,
        exif=info.get("exif") or None,
        xmp=info.get("xmp") or None,
        dpi=_usable_dpi(image),
    )
    format = "JPEG" if image.format == "MPO" else str(image.format)
    image = image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else _simplified(image)
    colors = {"L": 1, "LA": 1, "CMYK": 4}.get(image.mode, 3)
    return Decoded(pixels=np.atleast_3d(np.asarray(image)), colors=colors, metadata=metadata, format=format)


def _simplified(image: Image.Image) -> Image.Image:
    """A palette or 1-bit image as grey or RGB, with alpha if it has transparency."""
    if image.mode not in ("1", "P", "PA"):
        return image.convert("RGB")
    transparent = "transparency" in image.info or image.mode == "PA"
    if image.mode == "1":
        return image.convert("LA" if transparent else "L")
    palette = np.reshape((image.getpalette("RGB") or [0, 0, 0]), (-1, 3))
    is_grey = bool((palette == palette[:, :1]).all())
    simplified = image.convert("RGBA" if transparent else "RGB")
    return simplified.convert("LA" if transparent else "L") if is_grey else simplified


def _usable_dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi: Any = image.info.get("dpi")
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") not in (1, 2) and dpi == (72, 72):
        return None  # Pillow makes this up where EXIF gives no resolution
    try:
        x, y = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e9 and 0 < y < 1e9 else None


def finished(decoded: Decoded) -> Picture:
    """The picture upright, its alpha apart, and never in CMYK."""
    metadata, orientation = upright(decoded.metadata, decoded.orientation)
    pixels = decoded.pixels
    color, alpha = pixels[..., : decoded.colors], None
    if pixels.shape[2] > decoded.colors:
        alpha = _turned(pixels[..., decoded.colors], orientation)
    if decoded.colors == 4:
        color, metadata = _rgb_of_cmyk(color, metadata)
    color = _turned(color, orientation)
    return Picture(color=color, alpha=alpha, metadata=metadata, format=decoded.format)


def _rgb_of_cmyk(cmyk: npt.NDArray[Any], metadata: Metadata) -> tuple[npt.NDArray[Any], Metadata]:
    """sRGB by the profile of the inks; without one, by plain subtraction."""
    rgb = to_srgb(np.ascontiguousarray(cmyk), metadata.icc) if metadata.icc else None
    if rgb is None:
        top = int(np.iinfo(cmyk.dtype).max)
        paper = top - cmyk.astype(np.uint32)
        rgb = ((paper[..., :3] * paper[..., 3:] + top // 2) // top).astype(cmyk.dtype)
    return rgb, replace(metadata, icc=srgb_profile())


def _turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Pixels as EXIF's orientation says they are meant, contiguous."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
