"""TIFF encoding, strip by strip and in threads."""

from collections.abc import Iterable
from itertools import accumulate
from typing import BinaryIO

import imagecodecs
import numpy as np
from PIL import TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from sr_cli.images.codecs import tiff_tags as tags
from sr_cli.images.codecs.ordered_pool import ordered_map
from sr_cli.images.exif_xmp import fit_to_size
from sr_cli.images.picture import Metadata, Picture, Pixels, band_rows

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 0x0100, 0x0101, 0x0102, 0x0103, 0x0106
_OFFSETS, _CHANNELS, _ROWS, _BYTES, _PREDICTOR, _EXTRA = 0x0111, 0x0115, 0x0116, 0x0117, 0x013D, 0x0152
_DEFLATE, _HORIZONTAL, _UNASSOCIATED_ALPHA, _BLACK_IS_ZERO, _RGB, _INCH = 8, 2, 2, 1, 2, 2
_LEVEL = 1  # libdeflate, on an upscaled photo: 48 MP/s and 0.37 of the raw size; level 6: 11 and 0.34
_BIG = 4_000_000_000
"""Raw bytes beyond which 32-bit offsets might not suffice, so that BigTIFF is written."""


def write_tiff(file: BinaryIO, strips: Iterable[Pixels], *, like: Picture, size: tuple[int, int]) -> None:
    """Write a TIFF from strips of ``band_rows(width)`` rows, ``(h, W, C)``, deflated with horizontal prediction.

    The directory stands before the pixels. Its size depends on the number of strips only, so it is written first to
    reserve its place, and again at the end with the strips' positions.

    ``tifffile.TiffWriter`` does not serve here: it takes pages, tiles or encoded segments but no iterator of raw
    strips, and it cannot write EXIF and GPS directories.

    Args:
        file: must be seekable.
        like: a picture with the channels, dtype and metadata of the output.
        size: width and height.
    """
    width, height = size
    is_big = width * height * like.channels * like.color.dtype.itemsize > _BIG
    head = tags.BIG_HEAD if is_big else tags.HEAD
    directory = _directory(head, like, size, fit_to_size(like.metadata, width, height))
    rows = band_rows(width)
    directory[_ROWS] = min(rows, height)
    lengths = [0] * -(-height // rows)

    def write_directory() -> None:
        # Pillow counts the offsets from the end of the directory.
        directory[_OFFSETS] = tuple(accumulate(lengths[:-1], initial=0))
        directory[_BYTES] = tuple(lengths)
        directory.tagtype[_OFFSETS] = directory.tagtype[_BYTES] = TiffTags.LONG8 if is_big else TiffTags.LONG
        file.seek(0)
        file.write(head + directory.tobytes(len(head)))

    write_directory()
    for index, compressed in enumerate(ordered_map(_deflate, strips)):
        file.write(compressed)
        lengths[index] = len(compressed)
    write_directory()


def _directory(head: bytes, like: Picture, size: tuple[int, int], metadata: Metadata) -> Directory:
    directory = Directory(head)
    for tag, value in tags.tags_of_exif(metadata.exif).items():
        directory[tag] = value
    directory[_WIDTH], directory[_HEIGHT] = size
    directory[_BITS] = (like.bits,) * like.channels
    directory[_COMPRESSION], directory[_PREDICTOR] = _DEFLATE, _HORIZONTAL
    directory[_PHOTOMETRIC] = _BLACK_IS_ZERO if like.is_gray else _RGB
    directory[_CHANNELS] = like.channels
    if like.alpha is not None:
        directory[_EXTRA] = _UNASSOCIATED_ALPHA
    if metadata.dpi:
        directory[tags.X_RESOLUTION], directory[tags.Y_RESOLUTION] = metadata.dpi
        directory[tags.RESOLUTION_UNIT] = _INCH
    if metadata.icc:
        directory[tags.ICC] = metadata.icc
    if metadata.xmp:
        directory[tags.XMP] = metadata.xmp
        directory.tagtype[tags.XMP] = TiffTags.BYTE
    return directory


def _deflate(pixels: Pixels) -> bytes:
    differences: Pixels = np.empty_like(pixels)
    differences[:, :1] = pixels[:, :1]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=differences[:, 1:])
    little_endian = differences.astype(differences.dtype.newbyteorder("<"), copy=False)
    return bytes(imagecodecs.deflate_encode(little_endian.data, _LEVEL))  # type: ignore[arg-type,unused-ignore]
