"""What the boxes of AVIF and HEIF files say about their picture, and Pillow doesn't: CICP and depth.

Pillow writes AVIF with 8 bits, and imagecodecs without a profile and metadata; together they write all of it.

Source: ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

_MAX_BOXES = 4096  # in one box
_MAX_META = 1 << 24
_NCLX, _SRGB, _BT601 = b"colrnclx", (1, 13), 6  # by ITU-T H.273


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


@cache
def is_10_bit_avif_possible() -> bool:
    """Whether the libraries that are installed write AVIF with 10 bits; those of Python 3.10 don't."""
    try:
        for mode, channels in (("L", 1), ("RGB", 3), ("RGBA", 4)):
            empty = io.BytesIO()
            Image.new(mode, (16, 16)).save(empty, "AVIF", speed=10)
            encode_10_bit(np.zeros((16, 16, channels), np.uint16), empty.getvalue(), quality=90, speed=10)
    except ValueError:
        return False
    return True


def encode_10_bit(
    pixels: npt.NDArray[np.uint16], like: bytes, *, quality: int, speed: int, cicp: tuple[int, int] | None = None
) -> bytes:
    """An AVIF file of 10 bits, ``(H, W, C)`` in 0 … 1023, with the profile and metadata of another, of Pillow's.

    Raises:
        ValueError: the libraries don't know how, or lay their files out in a way that isn't known here.
    """
    if len(Image.open(io.BytesIO(like)).getbands()) > pixels.shape[2]:  # Pillow before 12 makes gray RGB
        pixels = np.dstack([*[pixels[..., :1]] * 3, pixels[..., 1:]])
    primaries, transfer = cicp or _SRGB
    try:
        deep = imagecodecs.avif_encode(
            pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels, level=quality, speed=speed, bitspersample=10,
            pixelformat=imagecodecs.AVIF.PIXEL_FORMAT["YUV400" if pixels.shape[2] == 1 else "YUV420"],
            primaries=primaries, transfer=transfer, matrix=_BT601,
        )  # fmt: skip
        return _with_picture_of(like, bytes(deep))
    except (TypeError, KeyError, IndexError, struct.error) as error:
        raise ValueError(f"no AVIF of 10 bits ({error})") from error


def _with_picture_of(content: bytes, other: bytes) -> bytes:
    """An AVIF file with the picture of another, and with its own profile and metadata; both are made by libavif."""
    made = bytearray(content)
    items, names, described = _layout(content)
    other_items, other_names, other_described = _layout(other)
    sizes, other_sizes = ([where.stop - where.start for where in each] for each in (described, other_described))
    is_alike = names[: len(other_names)] == other_names and sizes == other_sizes
    if not is_alike or content[described[0]] != other[other_described[0]]:
        raise ValueError("AVIF files of unlike pictures")
    for here, there in zip(described, other_described, strict=True):
        made[here] = other[there]
    (count,) = struct.unpack_from(">H", other, other_items.start + 6)
    for at in range(14, 14 + 14 * count, 14):  # where each item is: color, alpha
        start, length = struct.unpack_from(">II", other, other_items.start + at)
        struct.pack_into(">II", made, items.start + at, len(made) + 8, length)
        made += struct.pack(">I4s", 8 + length, b"mdat") + other[start : start + length]
    return bytes(made)


def _layout(content: bytes) -> tuple[slice, list[bytes], list[slice]]:
    """Where a file of libavif says where its items are; their names; where it says size, depth, codec and brands."""
    outer = dict(_places(content, 0, len(content)))
    meta = dict(_places(content, outer[b"meta"].start + 4, outer[b"meta"].stop))
    items, infos, properties = meta[b"iloc"], meta[b"iinf"], meta[b"iprp"]
    names = [content[where] for _, where in _places(content, infos.start + 6, infos.stop)]
    start = b"\0\0\0\0\x44\0" + struct.pack(">H", len(names))  # version, lengths of fields, and one extent for each
    if not content.startswith(start, items.start) or items.stop - items.start != 8 + 14 * len(names):
        raise ValueError("AVIF file of another layout")
    where = dict(_places(content, properties.start, properties.stop))[b"ipco"]
    depth = [where for kind, where in _places(content, where.start, where.stop) if kind in (b"ispe", b"pixi", b"av1C")]
    return items, names, [*depth, outer[b"ftyp"]]


def _places(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, slice]]:
    """Kind of one box after the other, and where its content is."""
    while start < end:
        size, kind = struct.unpack_from(">I4s", content, start)
        if size < 8:  # 0: up to the end, 1: 64 bits
            return
        yield kind, slice(start + 8, start + size)
        start += size
