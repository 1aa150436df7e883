"""Writing a picture from top to bottom, some rows at a time: the output need not fit into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sr_cli.images.codecs.png import DEFAULT_LEVEL, PngRows
from sr_cli.images.codecs.tiff_write import TiffRows
from sr_cli.images.formats import check_side, format_of
from sr_cli.images.picture import Picture, Pixels, band_rows
from sr_cli.system.atomic_files import atomic_write

STRIP_FORMATS = ("PNG", "TIFF")


class StripWriter:
    """Takes the rows of a picture from top to bottom; `strip_writer` opens one."""

    def __init__(self, rows: PngRows | TiffRows, band: Pixels, height: int) -> None:
        self._rows = rows
        self._band = band
        self._filled = 0
        self._left = height

    def write(self, color: Pixels, alpha: Pixels | None = None) -> None:
        """Append rows, any number of them.

        Args:
            color: ``(h, W, C)`` in the picture's own color space and dtype, as from `own_values`.
            alpha: ``(h, W)``, if the output has alpha.

        Raises:
            ValueError: rows of another shape or dtype, or more of them than the picture has.
        """
        channels = self._band.shape[2]
        wanted = (len(color), self._band.shape[1], channels if alpha is None else channels - 1)
        if color.shape != wanted or color.dtype != self._band.dtype:
            raise ValueError(f"rows of {color.dtype} {color.shape} don't fit into {self._band.dtype} {wanted}")
        if len(color) > self._left:
            raise ValueError(f"{len(color)} rows for the last {self._left} of the picture")
        self._left -= len(color)
        start = 0
        while start < len(color):
            count = min(len(color) - start, len(self._band) - self._filled)
            taken = slice(start, start + count)
            target = self._band[self._filled : self._filled + count]
            target[..., : color.shape[2]] = color[taken]
            if alpha is not None:
                target[..., -1] = alpha[taken]
            start += count
            self._filled += count
            if self._filled == len(self._band):
                self._pass_on()

    def finish(self) -> None:
        """Write the end of the file.

        Raises:
            ValueError: rows are missing.
        """
        if self._left:
            raise ValueError(f"the last {self._left} rows of the picture are missing")
        if self._filled:
            self._pass_on()
        self._rows.finish()

    def _pass_on(self) -> None:
        self._rows.add(self._band[: self._filled].copy())  # a copy: threads read it while the next rows come in
        self._filled = 0


@contextmanager
def strip_writer(
    picture: Picture,
    path: Path,
    *,
    width: int,
    height: int,
    format: str | None = None,
    png_level: int = DEFAULT_LEVEL,
    overwrite: bool = True,
) -> Iterator[StripWriter]:
    """Write a PNG or TIFF file from strips of rows; it appears whole, at the end, or not at all.

    Args:
        picture: gives bit depth, color or grey, whether there is alpha, and metadata; its pixels are not used.
        width: of the output, like ``height``.

    Raises:
        ImageError: the suffix of ``path`` names no format, or the size doesn't fit into it.
        OutputError: the file cannot be written.
        ValueError: the format is neither PNG nor TIFF, or rows are missing or don't fit.
    """
    format = format or format_of(path)
    with (
        atomic_write(path, overwrite=overwrite) as file,
        strips_into(file, picture, width=width, height=height, format=format, png_level=png_level) as strips,
    ):
        yield strips


@contextmanager
def strips_into(
    file: BinaryIO, picture: Picture, *, width: int, height: int, format: str, png_level: int = DEFAULT_LEVEL
) -> Iterator[StripWriter]:
    """Like `strip_writer`, into an open file, which must be seekable for TIFF."""
    check_side(format, width, height)
    channels = picture.color.shape[2] + (picture.alpha is not None)
    dtype = picture.color.dtype
    rows: PngRows | TiffRows
    if format == "PNG":
        rows = PngRows(
            file, width=width, height=height, channels=channels, dtype=dtype, metadata=picture.metadata,
            level=png_level,
        )  # fmt: skip
    elif format == "TIFF":
        rows = TiffRows(file, width=width, height=height, channels=channels, dtype=dtype, metadata=picture.metadata)
    else:
        raise ValueError(f"{format} cannot be written in strips, only {' and '.join(STRIP_FORMATS)}")
    try:
        band: Pixels = np.empty((min(height, band_rows(width)), width, channels), dtype)
        strips = StripWriter(rows, band, height)
        yield strips
        strips.finish()
    finally:
        rows.close()
