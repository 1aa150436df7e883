"""Writing a picture strip by strip, from top to bottom, so that the output needn't fit into memory."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sr_cli.images.codecs.png_write import DEFAULT_LEVEL
from sr_cli.images.formats import FORMATS, check_side, format_of_suffix
from sr_cli.images.picture import Picture, band_rows, rechunk
from sr_cli.system.atomic_files import atomic_write

STRIP_FORMATS = tuple(name for name, format in FORMATS.items() if format.strip_encoder)


def write_strips(
    strips: Iterable[Picture],
    path: Path,
    *,
    like: Picture,
    size: tuple[int, int],
    format: str | None = None,
    png_level: int = DEFAULT_LEVEL,
    overwrite: bool = True,
) -> None:
    """Write strips of any height to a PNG or TIFF file, which appears atomically once the last one is written.

    Args:
        strips: from top to bottom; their pixels must not be changed afterwards.
        like: a picture with the bit depth, channels and metadata of the output.
        size: width and height of the output.
        format: ``None`` goes by the suffix of ``path``.

    Raises:
        ImageError: the suffix of ``path`` stands for no format, or the size doesn't fit into it.
        OutputError: the file cannot be written.
        ValueError: the format is neither PNG nor TIFF, or the strips don't fit or are too few or too many.
    """
    format = format or format_of_suffix(path)
    with atomic_write(path, overwrite=overwrite) as file:
        encode_strips(strips, file, like=like, size=size, format=format, png_level=png_level)


def encode_strips(
    strips: Iterable[Picture],
    file: BinaryIO,
    *,
    like: Picture,
    size: tuple[int, int],
    format: str,
    png_level: int = DEFAULT_LEVEL,
) -> None:
    """Like `write_strips`, into an open file."""
    check_side(format, *size)
    encoder = FORMATS[format].strip_encoder
    if encoder is None:
        raise ValueError(f"{format} cannot be written in strips, only {' and '.join(STRIP_FORMATS)}")
    if format == "TIFF" and not file.seekable():
        with tempfile.TemporaryFile() as seekable:
            encode_strips(strips, seekable, like=like, size=size, format=format)
            seekable.seek(0)
            shutil.copyfileobj(seekable, file, 1 << 20)
        return
    options: dict[str, Any] = {"level": png_level} if format == "PNG" else {}
    encoder(file, rechunk(_interleave(strips, like, size), band_rows(size[0])), like=like, size=size, **options)


def _interleave(strips: Iterable[Picture], like: Picture, size: tuple[int, int]) -> Iterator[npt.NDArray[Any]]:
    """Color and alpha in one array per strip, checked against the output's shape and dtype."""
    width, left = size
    wanted = (width, like.channels, like.color.dtype)
    for strip in strips:
        given = (strip.width, strip.channels, strip.color.dtype)
        if given != wanted:
            raise ValueError(f"strips of (width, channels, dtype) {given} don't fit into {wanted}")
        if strip.height > left:
            raise ValueError(f"{strip.height} rows for the last {left} of the picture")
        left -= strip.height
        yield strip.color if strip.alpha is None else np.dstack([strip.color, strip.alpha])
    if left:
        raise ValueError(f"the last {left} rows of the picture are missing")
