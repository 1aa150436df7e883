"""JPEG: compressed straight from the array, with the metadata segments put in between."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np

from sr_cli.images.exif_xmp import fitted
from sr_cli.images.picture import Metadata, Pixels, to_8_bit

_JFIF = slice(2, 20)
_LONGEST = 65_533
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"


def write_jpeg(file: BinaryIO, color: Pixels, metadata: Metadata, *, quality: int) -> None:
    """Write ``(H, W, 1 | 3)`` as JPEG, without chroma subsampling from quality 90 on.

    EXIF and XMP that don't fit into one segment (64 KB) are left out: `losses` says so.
    """
    color = np.ascontiguousarray(to_8_bit(color))
    height, width, channels = color.shape
    subsampling = "444" if quality >= 90 else "420"
    coded = imagecodecs.jpeg8_encode(color[..., 0] if channels == 1 else color, quality, subsampling=subsampling)
    file.write(coded[: _JFIF.start])
    file.write(_with_density(coded[_JFIF], metadata.dpi))
    for marker, content in _segments(fitted(metadata, width, height)):
        if len(content) <= _LONGEST:
            file.write(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content)
    file.write(memoryview(coded)[_JFIF.stop :])


def _segments(metadata: Metadata) -> Iterator[tuple[int, bytes]]:
    if metadata.exif:
        yield 0xE1, b"Exif\0\0" + metadata.exif
    if metadata.xmp:
        yield 0xE1, _XMP + metadata.xmp
    if metadata.icc:
        step = _LONGEST - len(_ICC) - 2
        parts = [metadata.icc[at : at + step] for at in range(0, len(metadata.icc), step)]
        for number, part in enumerate(parts[:255], start=1):
            yield 0xE2, _ICC + bytes([number, min(len(parts), 255)]) + part


def _with_density(jfif: bytes | bytearray, dpi: tuple[float, float] | None) -> bytes:
    """libjpeg's JFIF segment with the resolution in it."""
    if dpi is None or not jfif.startswith(b"\xff\xe0\x00\x10JFIF\0"):
        return bytes(jfif)
    return bytes(jfif[:11]) + struct.pack(">BHH", 1, *(min(65_535, max(1, round(x))) for x in dpi)) + bytes(jfif[16:])
