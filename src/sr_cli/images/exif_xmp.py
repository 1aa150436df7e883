"""EXIF and XMP put right where they stand, so that all else in them, maker notes included, keeps its place."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

from sr_cli.images.picture import Metadata

_ORIENTATION, _EXIF_FOLDER, _THUMBNAIL_START, _THUMBNAIL_LENGTH = 0x0112, 0x8769, 0x0201, 0x0202
_WIDTH = {0x0100, 0xA002}  # ImageWidth in the main folder, PixelXDimension in the EXIF folder
_HEIGHT = {0x0101, 0xA003}
_SHORT, _LONG = 3, 4


def upright(metadata: Metadata, orientation: int | None = None) -> tuple[Metadata, int]:
    """The metadata of the picture once it is turned upright, and the orientation (1 … 8) to turn it by.

    The thumbnail goes: it shows the picture as it lay. EXIF that makes no sense goes too.

    Args:
        orientation: what the file says outside of EXIF; it counts more than EXIF's.
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


def fitted(metadata: Metadata, width: int, height: int) -> Metadata:
    """The metadata as it is true of an upright picture of this size: dimensions and orientation, where mentioned.

    Browsers look for no orientation in XMP, so neither does `upright`; but nobody may find one there later.
    """
    exif, xmp = metadata.exif, metadata.xmp
    if exif:
        exif = _fitted_exif(exif, width, height)
    if xmp:
        sides = {b"tiff:ImageWidth": width, b"exif:PixelXDimension": width}
        sides |= {b"tiff:ImageLength": height, b"exif:PixelYDimension": height, b"tiff:Orientation": 1}
        xmp = re.sub(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", b"", _with_numbers(xmp, sides), flags=re.DOTALL)
    return replace(metadata, exif=exif, xmp=xmp)


def _byte_order(exif: bytes | bytearray) -> str:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(exif[:4]))
    if order is None:
        raise ValueError("EXIF has no TIFF header")
    return order


def _entries(exif: bytes | bytearray, order: str, folder: int) -> Iterator[tuple[int, int]]:
    """Tag and position of each 12-byte entry of an image file directory."""
    (count,) = struct.unpack_from(order + "H", exif, folder)
    for at in range(folder + 2, folder + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", exif, at)[0], at


def _number(exif: bytes | bytearray, order: str, at: int) -> int:
    (kind,) = struct.unpack_from(order + "H", exif, at + 2)
    return int(struct.unpack_from(order + ("H" if kind == _SHORT else "I"), exif, at + 8)[0])


def _first_folder(exif: bytes | bytearray, order: str) -> int:
    return int(struct.unpack_from(order + "I", exif, 4)[0])


def _take_orientation(exif: bytearray, order: str) -> int:
    for tag, at in _entries(exif, order, _first_folder(exif, order)):
        if tag == _ORIENTATION:
            orientation = _number(exif, order, at)
            struct.pack_into(order + "HHIHH", exif, at, tag, _SHORT, 1, 1, 0)
            return orientation if orientation in range(1, 9) else 1
    return 1


def _cut_thumbnail(exif: bytearray, order: str) -> None:
    """Unlink the second directory, blank the JPEG it points to, and cut the file there if nothing follows."""
    folder = _first_folder(exif, order)
    (count,) = struct.unpack_from(order + "H", exif, folder)
    link = folder + 2 + 12 * count
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


def _fitted_exif(exif: bytes, width: int, height: int) -> bytes:
    changed = bytearray(exif)
    try:
        order = _byte_order(changed)
        _take_orientation(changed, order)
        folders = [_first_folder(changed, order)]
        folders += [
            _number(changed, order, at) for tag, at in _entries(changed, order, folders[0]) if tag == _EXIF_FOLDER
        ]
        for folder in folders:
            for tag, at in _entries(changed, order, folder):
                if tag in _WIDTH | _HEIGHT:
                    struct.pack_into(order + "HHII", changed, at, tag, _LONG, 1, width if tag in _WIDTH else height)
    except (struct.error, ValueError):
        return exif
    return bytes(changed)


def _with_numbers(xmp: bytes, numbers: dict[bytes, int]) -> bytes:
    """XMP with other values for properties written as attribute (``name="6"``) or element (``<name>6<``)."""
    for name, value in numbers.items():
        xmp = re.sub(rb"(" + name + rb"""\s*=\s*["']|<""" + name + rb">)\d+", rb"\g<1>" + str(value).encode(), xmp)
    return xmp
