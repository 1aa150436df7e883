"""What the boxes of AVIF and HEIF files say about their picture, and Pillow doesn't: CICP and depth.

Pillow writes AVIF with 8 bits, and imagecodecs without a profile and metadata; together they write all of it.

Source: ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_MAX_BOXES = 4096  # in one box
_MAX_META = 1 << 24
_NCLX, _SRGB = b"colrnclx", (1, 13)


@dataclass(frozen=True)
class Properties:
    """Primaries and transfer of the picture by the numbers of ITU-T H.273, and bits per channel; ``None``: not said."""

    cicp: tuple[int, int] | None = None
    bits: int | None = None


def read_properties(file: BinaryIO) -> Properties:
    """The properties of the primary picture; none of them, where the boxes are damaged."""
    try:
        return _properties(file)
    except (struct.error, IndexError, KeyError):
        return Properties()


def _properties(file: BinaryIO) -> Properties:
    file.seek(0)
    meta = next((body for kind, body in _boxes(file, _MAX_META) if kind == b"meta"), b"")
    parts = dict(_boxes(io.BytesIO(meta[4:])))
    (primary,) = struct.unpack_from(">I" if parts[b"pitm"][0] else ">H", parts[b"pitm"], 4)
    containers = dict(_boxes(io.BytesIO(parts[b"iprp"])))
    known = list(_boxes(io.BytesIO(containers[b"ipco"])))
    found = Properties()
    for index in _associated(containers[b"ipma"], primary):
        kind, body = known[index - 1]
        if kind == b"colr" and body[:4] == b"nclx":
            found = Properties(struct.unpack_from(">HH", body, 4), found.bits)
        elif kind == b"pixi":
            found = Properties(found.cicp, max(body[5 : 5 + body[4]]))
    return found


def _boxes(file: BinaryIO, longest: int = _MAX_META) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of one box after the other; empty for those that are longer than that."""
    for _ in range(_MAX_BOXES):
        head = file.read(8)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        if size == 1:
            size = struct.unpack(">Q", file.read(8))[0] - 8
        if size < 8:  # 0: up to the end
            return
        end = file.tell() + size - 8
        yield kind, file.read(size - 8) if size <= longest else b""
        file.seek(end)


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers of an item's properties, from 1."""
    version, is_long = ipma[0], ipma[3] & 1
    (count,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(count):
        (number,) = struct.unpack_from(">I" if version else ">H", ipma, at)
        at += 4 if version else 2
        of_item = ipma[at]
        width = 2 if is_long else 1
        entries = ipma[at + 1 : at + 1 + width * of_item]
        at += 1 + width * of_item
        if number == item:
            mask = 0x7FFF if is_long else 0x7F
            return [int.from_bytes(entries[i : i + width], "big") & mask for i in range(0, len(entries), width)]
    return []


def with_cicp(content: bytes, cicp: tuple[int, int]) -> bytes:
    """An AVIF file of Pillow's, which always says sRGB, with other primaries and transfer."""
    return content.replace(_NCLX + struct.pack(">HH", *_SRGB), _NCLX + struct.pack(">HH", *cicp))


def with_picture_of(content: bytes, other: bytes) -> bytes:
    """An AVIF file with the picture of another, and with its own profile and metadata; both are made by libavif.

    Raises:
        ValueError: they differ in size, color or alpha.
    """
    made = bytearray(content)
    items, described = _layout(content)
    other_items, other_described = _layout(other)
    if [content[where] for where in described[:1]] != [other[where] for where in other_described[:1]] or [
        where.stop - where.start for where in described
    ] != [where.stop - where.start for where in other_described]:
        raise ValueError("AVIF files of unlike pictures")
    for here, there in zip(described, other_described, strict=True):
        made[here] = other[there]
    (count,) = struct.unpack_from(">H", other, other_items.start + 6)
    for at in range(14, 14 + 14 * count, 14):  # where each item is: color, alpha
        start, length = struct.unpack_from(">II", other, other_items.start + at)
        struct.pack_into(">II", made, items.start + at, len(made) + 8, length)
        made += struct.pack(">I4s", 8 + length, b"mdat") + other[start : start + length]
    return bytes(made)


def _layout(content: bytes) -> tuple[slice, list[slice]]:
    """Where a file of libavif says where its items are, and where it says its size, brands, depth and codec."""
    outer = dict(_places(content, 0, len(content)))
    meta = dict(_places(content, outer[b"meta"].start + 4, outer[b"meta"].stop))
    (properties, where), _ = _places(content, meta[b"iprp"].start, meta[b"iprp"].stop)
    assert properties == b"ipco"
    depth = [where for kind, where in _places(content, where.start, where.stop) if kind in (b"ispe", b"pixi", b"av1C")]
    return meta[b"iloc"], [*depth, outer[b"ftyp"]]


def _places(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, slice]]:
    """Kind of one box after the other, and where its content is."""
    while start < end:
        size, kind = struct.unpack_from(">I4s", content, start)
        yield kind, slice(start + 8, start + size)
        start += size
