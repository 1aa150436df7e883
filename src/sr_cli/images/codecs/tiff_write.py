"""TIFF encoding, strip by strip and in threads."""

from collections.abc import Iterable
from itertools import accumulate
from typing import BinaryIO

import imagecodecs
import numpy as np
from PIL import TiffTags
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from sr_cli.images.codecs.ordered_pool import ordered_map
from sr_cli.images.codecs.tiff_tags import BIG_HEAD, HEAD, exif_to_tags
from sr_cli.images.exif_xmp import fit_to_size
from sr_cli.images.picture import Picture, Pixels, band_rows

_DEFLATE, _HORIZONTAL, _UNASSOCIATED_ALPHA, _BLACK_IS_ZERO, _RGB, _INCH = 8, 2, 2, 1, 2, 2
_LEVEL = 1  # libdeflate, on an upscaled photo: 48 MP/s and 0.37 of the raw size; level 6: 11 and 0.34
_BIG = 4_000_000_000  # raw bytes beyond which 32-bit offsets might not suffice, so that BigTIFF is written


def write_tiff(file: BinaryIO, strips: Iterable[Pixels], *, like: Picture, size: tuple[int, int]) -> None:
    """Write a TIFF from strips of rows, deflated with horizontal prediction; see `Format.strip_encoder`.

    The directory stands before the pixels. Its size depends on the number of strips only, so it is written first to
    reserve its place, and again at the end with the strips' positions; the file must be seekable.

    ``tifffile.TiffWriter`` does not serve here: it takes pages, tiles or encoded segments but no iterator of raw
    strips, and it cannot write EXIF and GPS directories.
    """
    width, height = size
    is_big = width * height * like.channels * like.color.dtype.itemsize > _BIG
    head = BIG_HEAD if is_big else HEAD
    directory = _directory(head, like, size)
    lengths = [0] * -(-height // band_rows(width))

    def write_directory() -> None:
        # Pillow counts the offsets from the end of the directory.
        directory[Tag.StripOffsets] = tuple(accumulate(lengths[:-1], initial=0))
        directory[Tag.StripByteCounts] = tuple(lengths)
        kind = TiffTags.LONG8 if is_big else TiffTags.LONG
        directory.tagtype[Tag.StripOffsets] = directory.tagtype[Tag.StripByteCounts] = kind
        file.seek(0)
        file.write(head + directory.tobytes(len(head)))

    write_directory()
    for index, compressed in enumerate(ordered_map(_deflate, strips)):
        file.write(compressed)
        lengths[index] = len(compressed)
    write_directory()


def _directory(head: bytes, like: Picture, size: tuple[int, int]) -> Directory:
    metadata = fit_to_size(like.metadata, *size)
    directory = Directory(head)
    for number, value in exif_to_tags(metadata.exif).items():
        directory[number] = value
    directory[Tag.ImageWidth], directory[Tag.ImageLength] = size
    directory[Tag.RowsPerStrip] = min(band_rows(size[0]), size[1])
    directory[Tag.BitsPerSample] = (like.bits,) * like.channels
    directory[Tag.Compression], directory[Tag.Predictor] = _DEFLATE, _HORIZONTAL
    directory[Tag.PhotometricInterpretation] = _BLACK_IS_ZERO if like.is_gray else _RGB
    directory[Tag.SamplesPerPixel] = like.channels
    if like.alpha is not None:
        directory[Tag.ExtraSamples] = _UNASSOCIATED_ALPHA
    if metadata.dpi:
        directory[Tag.XResolution], directory[Tag.YResolution] = metadata.dpi
        directory[Tag.ResolutionUnit] = _INCH
    if metadata.icc:
        directory[Tag.InterColorProfile] = metadata.icc
    if metadata.xmp:
        directory[Tag.XMLPacket] = metadata.xmp
        directory.tagtype[Tag.XMLPacket] = TiffTags.BYTE
    return directory


def _deflate(pixels: Pixels) -> bytes:
    differences: Pixels = np.empty_like(pixels)
    differences[:, :1] = pixels[:, :1]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=differences[:, 1:])
    little_endian = differences.astype(differences.dtype.newbyteorder("<"), copy=False)
    return bytes(imagecodecs.deflate_encode(little_endian.data, _LEVEL))  # type: ignore[arg-type,unused-ignore]
