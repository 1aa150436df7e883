"""`Picture` → image file, whole or not at all."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from sr_cli.errors import ImageError
from sr_cli.images.codecs.bmp import write_bmp_with_alpha
from sr_cli.images.codecs.jpeg import write_jpeg
from sr_cli.images.codecs.png import DEFAULT_LEVEL
from sr_cli.images.exif_xmp import fitted
from sr_cli.images.formats import FORMATS, check_side, format_of
from sr_cli.images.picture import Picture, bands, to_8_bit
from sr_cli.images.plugins import heif_is_there
from sr_cli.images.strip_writer import STRIP_FORMATS, strips_into
from sr_cli.system.atomic_files import atomic_write


def write(
    picture: Picture,
    path: Path,
    *,
    format: str | None = None,
    quality: int | None = None,
    png_level: int = DEFAULT_LEVEL,
    overwrite: bool = True,
) -> None:
    """Write ``picture`` to ``path``; the file appears whole or not at all.

    What the format cannot hold is left out (`losses` names it): transparent parts go onto white, 16 bit to 8.

    Args:
        format: as in `Picture.format`; ``None`` goes by the suffix of ``path``.
        quality: 1 … 100 for JPEG, WebP (100: lossless), AVIF and HEIF; ``None`` takes the format's default.
        png_level: 0 … 9, fast to small; losslessly the same pixels.
        overwrite: whether a file of that name may be replaced.

    Raises:
        ImageError: the suffix names no format, or the picture doesn't fit into it.
        OutputError: the file cannot be written, or exists and ``overwrite`` is false.
    """
    format = format or format_of(path)
    check_side(format, picture.width, picture.height)
    with atomic_write(path, overwrite=overwrite) as file:
        encode(picture, file, format=format, quality=quality, png_level=png_level)


def encode(
    picture: Picture,
    file: BinaryIO,
    *,
    format: str,
    quality: int | None = None,
    png_level: int = DEFAULT_LEVEL,
) -> None:
    """Write ``picture`` to an open binary file, a pipe for instance; arguments and errors as of `write`."""
    check_side(format, picture.width, picture.height)
    quality = quality or FORMATS[format].quality
    if format in STRIP_FORMATS:
        _encode_in_strips(picture, file, format, png_level)
    elif format == "JPEG":
        write_jpeg(file, opaque(picture).color, picture.metadata, quality=quality or 95)
    elif format == "BMP" and picture.alpha is not None:
        write_bmp_with_alpha(file, picture)
    else:
        _encode_by_pillow(picture, file, format, quality)


def opaque(picture: Picture) -> Picture:
    """The picture on white, for a format without alpha."""
    if picture.alpha is None:
        return picture
    top = np.iinfo(picture.color.dtype).max
    color = np.empty_like(picture.color)
    for rows in bands(picture.height, picture.width):
        share = picture.alpha[rows][..., None].astype(np.float32) / np.float32(top)
        color[rows] = picture.color[rows] * share + top * (1 - share) + np.float32(0.5)
    return Picture(color=color, metadata=picture.metadata, format=picture.format)


def _encode_in_strips(picture: Picture, file: BinaryIO, format: str, png_level: int) -> None:
    if format == "TIFF" and not file.seekable():
        with tempfile.TemporaryFile() as seekable:
            _encode_in_strips(picture, seekable, format, png_level)
            seekable.seek(0)
            shutil.copyfileobj(seekable, file, 1 << 20)
        return
    size = {"width": picture.width, "height": picture.height}
    with strips_into(file, picture, **size, format=format, png_level=png_level) as strips:
        for rows in bands(picture.height, picture.width):
            strips.write(picture.color[rows], None if picture.alpha is None else picture.alpha[rows])


def _encode_by_pillow(picture: Picture, file: BinaryIO, format: str, quality: int | None) -> None:
    if format == "HEIF" and not heif_is_there():
        raise ImageError("HEIF files need a plug-in: pip install pillow-heif")
    try:
        pillow_image(picture, format).save(file, format, **pillow_options(picture, format, quality))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ImageError(
            f"{picture.width} × {picture.height} pixels cannot be encoded as {format} ({error})"
        ) from error


def pillow_image(picture: Picture, format: str) -> Image.Image:
    """The picture for Pillow, at 8 bits; for GIF a pixel is there or it isn't."""
    color = to_8_bit(picture.color)
    alpha = None if picture.alpha is None else to_8_bit(picture.alpha)
    if alpha is not None and format == "GIF":
        alpha = np.where(alpha < 128, np.uint8(0), np.uint8(255))
        color = np.broadcast_to(color, (*color.shape[:2], 3))  # of grey with alpha Pillow would drop the alpha
    pixels = color if alpha is None else np.dstack([color, alpha])
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def pillow_options(picture: Picture, format: str, quality: int | None) -> dict[str, Any]:
    """The arguments of Pillow's ``save`` for one format."""
    metadata = fitted(picture.metadata, picture.width, picture.height)
    options: dict[str, Any] = {}
    if "EXIF" in FORMATS[format].holds:
        # bytes() even when there is none: Pillow would take what the picture's info has
        options |= {"icc_profile": metadata.icc or b"", "exif": metadata.exif or b"", "xmp": metadata.xmp or b""}
    if format == "BMP" and metadata.dpi:
        options["dpi"] = metadata.dpi
    if quality is not None:
        options |= {"lossless": True} if format == "WEBP" and quality == 100 else {"quality": quality}
    if format == "AVIF":
        options["speed"] = 8  # of 10; Pillow's 6 takes more than twice as long for files 1 % smaller
    return options
