"""Writing a picture strip by strip, from top to bottom, so that the output needn't fit into memory."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sr_cli.config import PNG_LEVEL
from sr_cli.images.formats import FORMATS, check_side, format_of_suffix, in_describable_colors
from sr_cli.images.picture import Picture, band_rows, rechunk
from sr_cli.system.atomic_files import atomic_write

STRIP_FORMATS = tuple(name for name, format in FORMATS.items() if format.strip_encoder)


def write_strips(
    strips: Iterable[Picture],
    target: Path | BinaryIO,
    *,
    like: Picture,
    size: tuple[int, int],
    format: str | None = None,
    png_level: int = PNG_LEVEL,
    overwrite: bool = True,
) -> None:
    """Write strips of any height as PNG or TIFF; a file appears atomically once the last one is written.

    Args:
        strips: from top to bottom; their pixels must not be changed afterwards.
        target: a path, or an open binary file such as a pipe.
        like: a picture with the bit depth, channels and metadata of the output.
        size: width and height of the output.
        format: ``None`` goes by the suffix of ``target``.

    Raises:
        ImageError: the suffix of ``target`` stands for no format, or the size doesn't fit into it.
        OutputError: the file cannot be written.
        ValueError: the format is neither PNG nor TIFF, or the strips don't fit or are too few or too many.
    """
    format = format or format_of_suffix(target)
    check_side(format, *size)
    encoder = FORMATS[format].strip_encoder
    if encoder is None:
        raise ValueError(f"{format} cannot be written in strips, only {' and '.join(STRIP_FORMATS)}")
    like = in_describable_colors(like, format)
    strips = (in_describable_colors(strip, format) for strip in strips)
    options: dict[str, Any] = {"level": png_level} if format == "PNG" else {}
    chunks = rechunk(_interleave(strips, like, size), band_rows(size[0]))
    with open_target(target, overwrite=overwrite) as file:
        if format == "TIFF" and not file.seekable():
            with tempfile.TemporaryFile() as seekable:
                encoder(seekable, chunks, like=like, size=size)
                seekable.seek(0)
                shutil.copyfileobj(seekable, file, 1 << 20)
        else:
            encoder(file, chunks, like=like, size=size, **options)


def open_target(target: Path | BinaryIO, *, overwrite: bool) -> AbstractContextManager[BinaryIO]:
    """An open file to write to: a new one that appears atomically, or the one given."""
    return atomic_write(target, overwrite=overwrite) if isinstance(target, Path) else nullcontext(target)


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
