"""Image file → `Picture`."""

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sr_cli.errors import ImageError
from sr_cli.images.picture import Metadata, Picture

MAX_PIXELS = 1 << 28
"""The largest picture that is read unless the caller allows more: 268 megapixels."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "GIF")

_pillow_limit = threading.Lock()


def read(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture whole: upright, in its own color space, at its own bit depth.

    Of an animation it is the first frame. Palettes are resolved; CMYK is converted to sRGB.

    Raises:
        ImageError: missing, unreadable, not an image, damaged, of an unsupported kind, or over ``max_pixels``.
    """
    with opened(source) as (file, name), damage_named(name):
        image = open_image(file, name, max_pixels)
        return _picture(image, file)


def read_rgb(path: Path, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read the colors of a picture as sRGB, upright, ``(H, W, 3)`` uint8; alpha is dropped."""
    picture = read(path, max_pixels=max_pixels)
    color = picture.color if picture.bits == 8 else ((picture.color.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(color, (*color.shape[:2], 3)))


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """A seekable binary file for ``source``, and the name to use in messages."""
    if not isinstance(source, (Path, str)):
        file = source if source.seekable() else io.BytesIO(source.read())
        yield file, str(getattr(source, "name", "input"))
        return
    path = Path(source)
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise ImageError(f"{path}: is a folder, not an image")
        if not stat.S_ISREG(kind):
            raise ImageError(f"{path}: is not a file")
        if path.stat().st_size == 0:
            raise ImageError(f"{path}: is empty (zero bytes)")
        with path.open("rb") as file:
            yield file, str(path)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises over hostile bytes into one `ImageError`."""
    try:
        yield
    except (ImageError, FileNotFoundError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too many pixels ({error})") from error
    except Exception as error:  # decoders raise nearly everything: SyntaxError, KeyError, struct.error, zlib.error …
        raise ImageError(f"{name}: is damaged or not supported ({error or type(error).__name__})") from error


def open_image(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.UnidentifiedImageError:
            raise ImageError(f"{name}: is not an image in a known format ({', '.join(FORMATS)})") from None
        finally:
            Image.MAX_IMAGE_PIXELS = before
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{name}: {image.width} × {image.height} pixels are more than the limit of {max_pixels / 1e6:.0f} "
            "megapixels; raise it if you trust the file"
        )
    return image


def _picture(image: Image.Image, file: BinaryIO) -> Picture:
    metadata = _metadata(image)
    if image.format == "PNG" and "16B" in str(image.tile):
        file.seek(0, os.SEEK_SET)
        pixels = imagecodecs.png_decode(file.read())
        return _split(pixels if pixels.ndim == 3 else pixels[..., None], image, metadata)
    kind = image.format

    image = ImageOps.exif_transpose(image)
    image.format = kind
    if image.mode in ("I;16", "I;16B", "I;16L"):
        return _split(np.asarray(image).astype(np.uint16)[..., None], image, metadata)
    if image.mode == "1":
        image = _converted(image, "L")
    elif image.mode in ("P", "PA"):
        image = _converted(image, "RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = _converted(image, "RGB")
    pixels = np.asarray(image)
    return _split(pixels if pixels.ndim == 3 else pixels[..., None], image, metadata)


def _split(pixels: npt.NDArray[Any], image: Image.Image, metadata: Metadata) -> Picture:
    channels = pixels.shape[2]
    color, alpha = (pixels[..., :-1], pixels[..., -1]) if channels in (2, 4) else (pixels, None)
    return Picture(
        color=color, alpha=alpha, metadata=metadata, format=str(image.format or "JPEG").replace("MPO", "JPEG")
    )


def _metadata(image: Image.Image) -> Metadata:
    return Metadata(icc=image.info.get("icc_profile"), xmp=image.info.get("xmp"), dpi=image.info.get("dpi"))


def _converted(image: Image.Image, mode: str) -> Image.Image:
    converted = image.convert(mode)
    converted.format = image.format
    return converted
