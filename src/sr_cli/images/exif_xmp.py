"""Corrections to EXIF and XMP, made in place so that all else, maker notes included, keeps its offset."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

from sr_cli.images.picture import Metadata

_ORIENTATION, _EXIF_DIRECTORY, _THUMBNAIL_START, _THUMBNAIL_LENGTH = 0x0112, 0x8769, 0x0201, 0x0202
_WIDTH = {0x0100, 0xA002}  # ImageWidth in the main directory, PixelXDimension in the EXIF directory
_HEIGHT = {0x0101, 0xA003}
_SHORT, _LONG = 3, 4


def make_upright(metadata: Metadata, orientation: int | None = None) -> tuple[Metadata, int]:
    """Reset the orientation; returns the metadata of the upright picture and the orientation (1 … 8) to apply to it.

    The thumbnail is dropped, since it isn't upright, and so is malformed EXIF.

    Args:
        orientation: from outside of EXIF, such as a TIFF tag; it overrides EXIF's.
    """
    exif = bytearray((metadata.exif or b"").removeprefix(b"Exif\0\0"))
    stated = 1
    try:
        order = _byte_order(exif)
        stated = _take_orientation(exif, order)
        _cut_thumbnail(exif, order)
    except (struct.error, ValueError):
        exif.clear()
    orientation = orientation or stated
    dpi = metadata.dpi[::-1] if metadata.dpi and orientation >= 5 else metadata.dpi
    return replace(metadata, exif=bytes(exif) or None, dpi=dpi), orientation


def fit_to_size(metadata: Metadata, width: int, height: int) -> Metadata:
    """Set the dimensions to those of an upright picture of this size, and the orientation to 1, wherever they occur.

    Like browsers, `make_upright` ignores XMP's orientation; it is reset to 1 here so that no other reader applies it.
    """
    exif, xmp = metadata.exif, metadata.xmp
    if exif:
        exif = _fit_exif(exif, width, height)
    if xmp:
        sides = {b"tiff:ImageWidth": width, b"exif:PixelXDimension": width}
        sides |= {b"tiff:ImageLength": height, b"exif:PixelYDimension": height, b"tiff:Orientation": 1}
        xmp = re.sub(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", b"", _replace_numbers(xmp, sides), flags=re.DOTALL)
    return replace(metadata, exif=exif, xmp=xmp)


def _byte_order(exif: bytes | bytearray) -> str:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(exif[:4]))
    if order is None:
        raise ValueError("EXIF has no TIFF header")
    return order


def _entries(exif: bytes | bytearray, order: str, directory: int) -> Iterator[tuple[int, int]]:
    """Tag and position of each 12-byte entry of an image file directory."""
    (count,) = struct.unpack_from(order + "H", exif, directory)
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", exif, at)[0], at


def _number(exif: bytes | bytearray, order: str, at: int) -> int:
    (kind,) = struct.unpack_from(order + "H", exif, at + 2)
    return int(struct.unpack_from(order + ("H" if kind == _SHORT else "I"), exif, at + 8)[0])


def _first_directory(exif: bytes | bytearray, order: str) -> int:
    return int(struct.unpack_from(order + "I", exif, 4)[0])


def _take_orientation(exif: bytearray, order: str) -> int:
    for tag, at in _entries(exif, order, _first_directory(exif, order)):
        if tag == _ORIENTATION:
            orientation = _number(exif, order, at)
            struct.pack_into(order + "HHIHH", exif, at, tag, _SHORT, 1, 1, 0)
            return orientation if orientation in range(1, 9) else 1
    return 1


def _cut_thumbnail(exif: bytearray, order: str) -> None:
    """Unlink the second directory and blank the JPEG it points to, or cut it off if nothing follows."""
    directory = _first_directory(exif, order)
    (count,) = struct.unpack_from(order + "H", exif, directory)
    link = directory + 2 + 12 * count
    (second,) = struct.unpack_from(order + "I", exif, link)
    struct.pack_into(order + "I", exif, link, 0)
    try:
        where = {tag: _number(exif, order, at) for tag, at in _entries(exif, order, second)} if second else {}
    except struct.error:
        return
    start, length = where.get(_THUMBNAIL_START, 0), where.get(_THUMBNAIL_LENGTH, 0)
    if exif[start : start + 2] == b"\xff\xd8":
        exif[start : start + length] = bytes(len(exif[start : start + length]))
        if start + length >= len(exif):
            del exif[start:]


def _fit_exif(exif: bytes, width: int, height: int) -> bytes:
    changed = bytearray(exif)
    try:
        order = _byte_order(changed)
        _take_orientation(changed, order)
        directories = [_first_directory(changed, order)]
        directories += [
            _number(changed, order, at)
            for tag, at in _entries(changed, order, directories[0])
            if tag == _EXIF_DIRECTORY
        ]
        for directory in directories:
            for tag, at in _entries(changed, order, directory):
                if tag in _WIDTH | _HEIGHT:
                    struct.pack_into(order + "HHII", changed, at, tag, _LONG, 1, width if tag in _WIDTH else height)
    except (struct.error, ValueError):
        return exif
    return bytes(changed)


def _replace_numbers(xmp: bytes, numbers: dict[bytes, int]) -> bytes:
    """Set the values of properties written as attributes (``name="6"``) or elements (``<name>6<``)."""
    for name, value in numbers.items():
        xmp = re.sub(rb"(" + name + rb"""\s*=\s*["']|<""" + name + rb">)\d+", rb"\g<1>" + str(value).encode(), xmp)
    return xmp
