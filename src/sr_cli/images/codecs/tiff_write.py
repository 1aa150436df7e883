"""TIFF out, some rows at a time."""

from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from sr_cli.images.codecs.ordered_pool import InOrder
from sr_cli.images.codecs.tiff_tags import (
    BIG_HEAD,
    HEAD,
    ICC,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    tags_of_exif,
)
from sr_cli.images.exif_xmp import fitted
from sr_cli.images.picture import Metadata, Pixels, band_rows

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 0x0100, 0x0101, 0x0102, 0x0103, 0x0106
_OFFSETS, _CHANNELS, _ROWS, _BYTES, _PREDICTOR, _EXTRA = 0x0111, 0x0115, 0x0116, 0x0117, 0x013D, 0x0152
_DEFLATE, _HORIZONTAL, _UNASSOCIATED_ALPHA, _BLACK_IS_ZERO, _RGB, _INCH = 8, 2, 2, 1, 2, 2
_LEVEL = 1  # libdeflate, on an upscaled photo: 48 MP/s and 0.37 of the raw size; level 6: 11 and 0.34
_BIG = 4_000_000_000
"""Raw bytes from which on 32-bit offsets might not do, and BigTIFF is written."""


class TiffRows:
    """Writes a TIFF strip by strip: differences of neighbours, deflated in threads. The file must be seekable.

    The directory stands in front of the pixels. Its size depends on the number of strips and not on theirs, so it is
    written once to hold its place, and again with their positions in the end.
    """

    def __init__(
        self, file: BinaryIO, *, width: int, height: int, channels: int, dtype: np.dtype[Any], metadata: Metadata
    ) -> None:
        self._file = file
        self._is_big = width * height * channels * dtype.itemsize > _BIG
        self._head = BIG_HEAD if self._is_big else HEAD
        self._strips: list[int] = []
        rows = band_rows(width)
        self._directory = _directory(self._head, width, height, channels, dtype, fitted(metadata, width, height))
        self._directory[_ROWS] = min(rows, height)
        self._lengths = [0] * -(-height // rows)
        self._write_directory()
        self._compressed = InOrder(_deflated, self._write_strip)

    def add(self, pixels: Pixels) -> None:
        """Append one strip, ``(h, W, C)``: as many rows as `band_rows` says, or what is left."""
        self._compressed.submit(pixels)

    def finish(self) -> None:
        """Write what is under way, and the directory."""
        self._compressed.finish()
        self._lengths = self._strips
        self._write_directory()

    def close(self) -> None:
        """Stop the threads."""
        self._compressed.close()

    def _write_strip(self, content: bytes) -> None:
        self._strips.append(len(content))
        self._file.write(content)

    def _write_directory(self) -> None:
        directory = self._directory
        # Pillow counts the offsets from the end of the directory.
        directory[_OFFSETS] = tuple(sum(self._lengths[:index]) for index in range(len(self._lengths)))
        directory[_BYTES] = tuple(self._lengths)
        kind = TiffTags.LONG8 if self._is_big else TiffTags.LONG
        directory.tagtype[_OFFSETS] = directory.tagtype[_BYTES] = kind
        self._file.seek(0)
        self._file.write(self._head + directory.tobytes(len(self._head)))


def _directory(
    head: bytes, width: int, height: int, channels: int, dtype: np.dtype[Any], metadata: Metadata
) -> Directory:
    directory = Directory(head)
    for tag, value in tags_of_exif(metadata.exif).items():
        directory[tag] = value
    directory[_WIDTH], directory[_HEIGHT] = width, height
    directory[_BITS] = (8 * dtype.itemsize,) * channels
    directory[_COMPRESSION], directory[_PREDICTOR] = _DEFLATE, _HORIZONTAL
    directory[_PHOTOMETRIC] = _RGB if channels >= 3 else _BLACK_IS_ZERO
    directory[_CHANNELS] = channels
    if channels in (2, 4):
        directory[_EXTRA] = _UNASSOCIATED_ALPHA
    if metadata.dpi:
        directory[X_RESOLUTION], directory[Y_RESOLUTION] = metadata.dpi
        directory[RESOLUTION_UNIT] = _INCH
    if metadata.icc:
        directory[ICC] = metadata.icc
    if metadata.xmp:
        directory[XMP] = metadata.xmp
        directory.tagtype[XMP] = TiffTags.BYTE
    return directory


def _deflated(pixels: Pixels) -> bytes:
    differences: npt.NDArray[Any] = np.empty_like(pixels)
    differences[:, :1] = pixels[:, :1]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=differences[:, 1:])
    little_endian = differences.astype(differences.dtype.newbyteorder("<"), copy=False)
    return bytes(imagecodecs.deflate_encode(little_endian.data, _LEVEL))  # type: ignore[arg-type,unused-ignore]
