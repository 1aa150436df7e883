"""`Picture` → image file, whole or not at all."""

from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from PIL import Image

from sr_cli.errors import ImageError
from sr_cli.files import written_whole
from sr_cli.images.picture import Picture

SUFFIXES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
    ".bmp": "BMP", ".avif": "AVIF", ".gif": "GIF",
}  # fmt: skip


def write(
    picture: Picture, path: Path, *, format: str | None = None, quality: int | None = None, png_level: int = 3,
    overwrite: bool = True,
) -> None:  # fmt: skip
    """Write ``picture`` to ``path``; the file appears whole or not at all.

    Args:
        format: as in `Picture.format`; ``None`` goes by the suffix of ``path``.
    """
    format = format or format_of(path)
    with written_whole(path, overwrite=overwrite) as file:
        encode(picture, file, format=format, quality=quality, png_level=png_level)


def format_of(path: Path) -> str:
    """The format that the suffix of ``path`` stands for."""
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise ImageError(
            f"{path}: no image format has the suffix {path.suffix!r}; known: {' '.join(SUFFIXES)}"
        ) from None


def encode(picture: Picture, file: BinaryIO, *, format: str, quality: int | None = None, png_level: int = 3) -> None:
    """Write ``picture`` to an open binary file, such as a pipe."""
    pixels = picture.color if picture.alpha is None else np.dstack([picture.color, picture.alpha])
    if format == "PNG" and picture.bits == 16:
        file.write(imagecodecs.png_encode(pixels, png_level))
        return
    if picture.bits == 16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if format == "JPEG":
        image = image.convert("L" if picture.is_grey else "RGB")
    options: dict[str, Any] = {"quality": quality or 95} if format in ("JPEG", "WEBP", "AVIF") else {}
    if picture.metadata.icc:
        options["icc_profile"] = picture.metadata.icc
    image.save(file, format, **options)
