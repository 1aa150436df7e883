"""TIFF tags ↔ EXIF, which is a TIFF structure too, so that descriptive tags can move between the two."""

import io
import struct
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from sr_cli.images.picture import Metadata

HEAD = b"II\x2a\0" + (8).to_bytes(4, "little")
BIG_HEAD = b"II\x2b\0\x08\0\0\0" + (16).to_bytes(8, "little")
ICC, XMP = 0x8773, 0x02BC
SIGNATURES = (b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b")
"""How a TIFF file begins, classic or big."""

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128

_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_DESCRIPTIVE = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x0132: "DateTime",
    0x013B: "Artist", 0x013C: "HostComputer", 0x8298: "Copyright",
}  # fmt: skip
"""Tags of the main directory that describe the picture, not its storage."""


def read_tags(file: BinaryIO) -> Metadata:
    """Read the first page's metadata; descriptive tags and the EXIF and GPS directories become EXIF."""
    tags = descriptive_tags(file)
    icc, xmp = tags.pop(ICC, None), tags.pop(XMP, None)
    exif = Directory(HEAD)
    for tag, value in tags.items():
        exif[tag] = value
    return Metadata(
        icc=icc if isinstance(icc, bytes) else None,
        xmp=xmp if isinstance(xmp, bytes) else None,
        exif=HEAD + exif.tobytes(len(HEAD)) if len(exif) else None,
    )


def tags_of_exif(exif: bytes | None) -> dict[int, Any]:
    """EXIF as tags for the main directory of a TIFF; empty if it is damaged."""
    try:
        return descriptive_tags(io.BytesIO(exif)) if exif else {}
    except (SyntaxError, IndexError, struct.error):
        return {}


def descriptive_tags(file: BinaryIO) -> dict[int, Any]:
    """Read the tags of the first directory that describe the picture; EXIF and GPS are nested dictionaries."""
    file.seek(0)
    head = file.read(16)
    head = head if 43 in (head[2], head[3]) else head[:8]
    main = _directory(file, head, Directory(head).next)
    kept = {tag: main[tag] for tag in (*_DESCRIPTIVE, ICC, XMP) if tag in main}
    # tifffile's note of an array's shape describes its own file, not the picture.
    kept = {tag: value for tag, value in kept.items() if not str(value).startswith('{"shape"')}
    for tag in (_EXIF, _GPS):
        if isinstance(main.get(tag), int):
            part = dict(_directory(file, head, main[tag], group=tag))
            if isinstance(part.get(_INTEROPERABILITY), int):
                inner = dict(_directory(file, head, part[_INTEROPERABILITY], group=_INTEROPERABILITY))
                part[_INTEROPERABILITY] = _drop_unwritable(inner, group=_INTEROPERABILITY)
            kept[tag] = _drop_unwritable(part, group=tag)
    return _drop_unwritable(kept)


def _drop_unwritable(tags: dict[int, Any], *, group: int | None = None) -> dict[int, Any]:
    """Keep the tags that Pillow can write; damaged files may have values of types that it can only read."""
    writable = {}
    for tag, value in tags.items():
        try:
            alone = Directory(HEAD, group=group)
            alone[tag] = value
            alone.tobytes(len(HEAD))
        except Exception:  # a wrong type raises TypeError, struct.error, AttributeError …
            continue
        if value != {}:
            writable[tag] = value
    return writable


def _directory(file: BinaryIO, head: bytes, at: int, *, group: int | None = None) -> Directory:
    directory = Directory(head, group=group)
    file.seek(at)
    directory.load(file)
    return directory
