"""TIFF tags ↔ EXIF, which is a TIFF structure too, so that descriptive tags can move between the two."""

import io
import struct
from functools import lru_cache
from typing import Any, BinaryIO

from PIL.ExifTags import IFD
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from sr_cli.images.picture import Metadata

HEAD = b"II\x2a\0" + (8).to_bytes(4, "little")
BIG_HEAD = b"II\x2b\0\x08\0\0\0" + (16).to_bytes(8, "little")
SIGNATURES = (b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b")  # classic and big

_DESCRIPTIVE = [
    *(Tag.ImageDescription, Tag.Make, Tag.Model, Tag.Software, Tag.DateTime, Tag.Artist, Tag.HostComputer),
    *(Tag.Copyright, Tag.InterColorProfile, Tag.XMLPacket),
]


def read_tags(file: BinaryIO) -> Metadata:
    """Read the first page's metadata; descriptive tags and the EXIF and GPS directories become EXIF."""
    tags = read_descriptive_tags(file)
    icc, xmp = tags.pop(Tag.InterColorProfile, None), tags.pop(Tag.XMLPacket, None)
    exif = Directory(HEAD)
    for tag, value in tags.items():
        exif[tag] = value
    return Metadata(
        icc=icc if isinstance(icc, bytes) else None,
        xmp=xmp if isinstance(xmp, bytes) else None,
        exif=HEAD + exif.tobytes(len(HEAD)) if len(exif) else None,
    )


def exif_to_tags(exif: bytes | None) -> dict[int, Any]:
    """EXIF as tags for the main directory of a TIFF; empty if it is damaged."""
    return read_descriptive_tags(io.BytesIO(exif)) if exif and is_readable_as_tags(exif) else {}


@lru_cache(maxsize=8)
def is_readable_as_tags(exif: bytes) -> bool:
    """Whether EXIF can be taken apart into tags."""
    try:
        read_descriptive_tags(io.BytesIO(exif))
    except (SyntaxError, IndexError, struct.error):
        return False
    return True


def read_descriptive_tags(file: BinaryIO) -> dict[int, Any]:
    """Read the tags of the first directory that describe the picture; EXIF and GPS are nested dictionaries."""
    file.seek(0)
    head = file.read(16)
    head = head if 43 in (head[2], head[3]) else head[:8]

    def read_directory(at: int, group: int | None = None) -> dict[int, Any]:
        directory = Directory(head, group=group)
        file.seek(at)
        directory.load(file)
        return dict(directory)

    main = read_directory(Directory(head).next)
    # tifffile's note of an array's shape describes its own file, not the picture.
    kept = {int(tag): main[tag] for tag in _DESCRIPTIVE if tag in main and not str(main[tag]).startswith('{"shape"')}
    for tag in (IFD.Exif, IFD.GPSInfo):
        if isinstance(main.get(tag), int):
            part = read_directory(main[tag], group=tag)
            if isinstance(part.get(IFD.Interop), int):
                inner = read_directory(part[IFD.Interop], group=IFD.Interop)
                part[IFD.Interop] = _drop_unwritable(inner, group=IFD.Interop)
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
