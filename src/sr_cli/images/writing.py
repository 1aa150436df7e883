"""`Picture` → image file, atomically."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from sr_cli.config import PNG_LEVEL
from sr_cli.errors import ImageError
from sr_cli.images.codecs.isobmff import encode_10_bit, with_cicp
from sr_cli.images.exif_xmp import fit_to_size
from sr_cli.images.formats import (
    FORMATS,
    check_side,
    format_of_suffix,
    holds_10_bit,
    in_describable_colors,
    storable_metadata,
)
from sr_cli.images.picture import Picture, bands, rescale, to_8_bit
from sr_cli.images.reading import is_heif_available
from sr_cli.images.strip_writer import STRIP_FORMATS, open_target, write_strips

_MAX_DPI = 65_535
_BT601 = 6  # by ITU-T H.273


def write(
    picture: Picture,
    target: Path | BinaryIO,
    *,
    format: str | None = None,
    quality: int | None = None,
    png_level: int = PNG_LEVEL,
    overwrite: bool = True,
) -> None:
    """Write ``picture`` to a file, which appears atomically, or to an open binary file such as a pipe.

    What the format cannot hold is left out (`losses` lists it): transparent pixels are blended onto white, 16 bits
    rounded to 8, or to 10 for AVIF and HEIF.

    Args:
        format: a key of `FORMATS`; ``None`` goes by the suffix of ``target``.
        quality: 1 … 100 for JPEG, WebP, JPEG XL (100: lossless), AVIF and HEIF; ``None`` takes the format's default.
        png_level: 0 (fastest) … 9 (smallest); always lossless.
        overwrite: whether a file of that name may be replaced.

    Raises:
        ImageError: the suffix stands for no format, or the picture doesn't fit into it.
        OutputError: the file cannot be written, or exists and ``overwrite`` is false.
    """
    format = format or format_of_suffix(target)
    size = (picture.width, picture.height)
    check_side(format, *size)
    if format in STRIP_FORMATS:
        strips = _bands_of(picture)
        write_strips(strips, target, like=picture, size=size, format=format, png_level=png_level, overwrite=overwrite)
        return
    picture = in_describable_colors(picture, format)
    if format == "HEIF" and not is_heif_available():
        raise ImageError("HEIF files need a plug-in: python -m pip install pillow-heif")
    with open_target(target, overwrite=overwrite) as file:
        try:
            if encoder := FORMATS[format].encoder:
                encoder(file, picture, quality=quality or FORMATS[format].quality)
                return
            options = pillow_options(picture, format, quality)
            if picture.bits == 16 and holds_10_bit(format):
                _save_10_bit(picture, file, format, options)
            else:
                save(to_pillow(picture, format), file, picture, format, **options)
        except (ValueError, RuntimeError) as error:
            raise ImageError(f"{size[0]} × {size[1]} pixels cannot be encoded as {format} ({error})") from error


def save(image: Image.Image, file: BinaryIO, like: Picture, format: str, **options: Any) -> None:
    """Let Pillow write an image, or several, in the color space of ``like``."""
    cicp = like.metadata.cicp
    if format != "AVIF" or cicp is None:
        image.save(file, format, **options)
        return
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    file.write(with_cicp(buffer.getvalue(), cicp))


def _save_10_bit(picture: Picture, file: BinaryIO, format: str, options: dict[str, Any]) -> None:
    """Write AVIF or HEIF with 10 bits, as most of their readers know no more; Pillow writes 8."""
    channels = picture.color if picture.alpha is None else np.dstack([picture.color, picture.alpha])
    pixels = rescale(channels, 65535, 1023)
    if format == "HEIF":
        from pillow_heif import encode

        mode = {1: "L;16", 2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}[channels.shape[2]]
        encode(mode, (picture.width, picture.height), (pixels << 6).tobytes(), file, bit_depth=10, **options)
        return
    empty = io.BytesIO()
    mode = {1: "L", 3: "RGB"}.get(channels.shape[2], "RGBA")
    save(Image.new(mode, (picture.width, picture.height)), empty, picture, format, **options | {"quality": 1})
    how = {"quality": options["quality"], "speed": options["speed"], "cicp": picture.metadata.cicp}
    file.write(encode_10_bit(pixels, empty.getvalue(), **how))


def to_pillow(picture: Picture, format: str) -> Image.Image:
    """The picture for Pillow, at 8 bits and with the kind of alpha that ``format`` holds."""
    if "alpha" not in FORMATS[format].holds:
        picture = _blend_onto_white(picture)
    color = to_8_bit(picture.color)
    alpha = None if picture.alpha is None else to_8_bit(picture.alpha)
    if alpha is not None and FORMATS[format].palette:
        alpha = np.where(alpha < 128, np.uint8(0), np.uint8(255))
        color = np.broadcast_to(color, (*color.shape[:2], 3))  # Pillow would drop the alpha of gray pictures
    pixels = color if alpha is None else np.dstack([color, alpha])
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def pillow_options(picture: Picture, format: str, quality: int | None = None) -> dict[str, Any]:
    """The arguments of Pillow's ``save``."""
    target = FORMATS[format]
    metadata = storable_metadata(fit_to_size(picture.metadata, picture.width, picture.height), format)
    options: dict[str, Any] = {"icc_profile": metadata.icc, "xmp": metadata.xmp}
    if metadata.cicp and format in ("AVIF", "HEIF"):
        options["icc_profile"] = None
        if format == "HEIF":
            primaries, transfer = metadata.cicp
            options |= {"color_primaries": primaries, "transfer_characteristics": transfer}
            options |= {"matrix_coefficients": _BT601, "full_range_flag": 1}
    if metadata.exif:
        options["exif"] = target.exif_prefix + metadata.exif
    if metadata.dpi:
        options["dpi"] = tuple(min(_MAX_DPI, max(1, dpi)) for dpi in metadata.dpi)
    options = {name: value for name, value in options.items() if value}
    quality = quality or target.quality
    return options if quality is None else options | target.save_options(quality)


def _bands_of(picture: Picture) -> Iterator[Picture]:
    for rows in bands(picture.height, picture.width):
        alpha = None if picture.alpha is None else picture.alpha[rows]
        yield replace(picture, color=picture.color[rows], alpha=alpha)


def _blend_onto_white(picture: Picture) -> Picture:
    if picture.alpha is None:
        return picture
    top = np.iinfo(picture.color.dtype).max
    color = np.empty_like(picture.color)
    for rows in bands(picture.height, picture.width):
        share = picture.alpha[rows][..., None].astype(np.float32) / np.float32(top)
        color[rows] = picture.color[rows] * share + top * (1 - share) + np.float32(0.5)
    return replace(picture, color=color, alpha=None)
