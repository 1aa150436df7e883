"""Corrections to EXIF and XMP, made in place so that all else, maker notes included, keeps its offset."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from html import escape

from sr_cli.images.picture import Metadata

_ORIENTATION, _EXIF_DIRECTORY, _THUMBNAIL_START, _THUMBNAIL_LENGTH = 0x0112, 0x8769, 0x0201, 0x0202
_WIDTH = (0x0100, 0xA002)  # ImageWidth in the main directory, PixelXDimension in the EXIF directory
_HEIGHT = (0x0101, 0xA003)
_COLOR_SPACE, _INTEROPERABILITY = 0xA001, 0xA005  # in the EXIF directory
_SHORT, _LONG = 3, 4

_EMPTY_XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_DESCRIPTION = (
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    b' xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/">'
)
_LONGEST_XMP = 65_000  # that JPEG takes

_COMPANIONS = {
    "the film of a motion photo": rb"(?:GCamera|Camera):(?:MotionPhoto|MicroVideo)\w*",
    "an HDR gain map": rb"hdrgm:\w+",
}
"""What may follow the picture in its file, and the XMP properties that say so."""


def make_upright(metadata: Metadata, orientation: int | None = None) -> tuple[Metadata, int]:
    """Reset the orientation; returns the metadata of the upright picture and the orientation (1 … 8) to apply to it.

    The thumbnail is dropped, since it isn't upright, and so is malformed EXIF.

    Args:
        orientation: from outside of EXIF, such as a TIFF tag; it overrides EXIF's.
    """
    content, stated = b"", 1
    try:
        exif = _Exif((metadata.exif or b"").removeprefix(b"Exif\0\0"))
        stated = exif.reset_orientation()
        exif.drop_thumbnail()
        content = bytes(exif.data)
    except (struct.error, ValueError):
        pass
    orientation = orientation or stated
    dpi = metadata.dpi[::-1] if metadata.dpi and orientation >= 5 else metadata.dpi
    return replace(metadata, exif=content or None, dpi=dpi), orientation


def fit_to_size(metadata: Metadata, width: int, height: int) -> Metadata:
    """Set the dimensions to those of an upright picture of this size, and the orientation to 1, wherever they occur.

    What announces a film or a gain map behind the picture is taken out of XMP, as they are not written.

    Like browsers, `make_upright` ignores XMP's orientation; it is reset to 1 here so that no other reader applies it.
    """
    content, xmp = metadata.exif, metadata.xmp
    try:
        exif = _Exif(content or b"")
        exif.reset_orientation()
        exif.set_size(width, height)
        content = bytes(exif.data)
    except (struct.error, ValueError):
        pass
    if xmp:
        numbers = {b"tiff:ImageWidth": width, b"exif:PixelXDimension": width, b"tiff:Orientation": 1}
        for name, value in (numbers | {b"tiff:ImageLength": height, b"exif:PixelYDimension": height}).items():
            # an attribute (name="6") or an element (<name>6<)
            xmp = re.sub(rb"(" + name + rb"""\s*=\s*["']|<""" + name + rb">)\d+", rb"\g<1>%d" % value, xmp)
        for name in _COMPANIONS.values():
            xmp = re.sub(name + rb"""\s*=\s*(?:"[^"]*"|'[^']*')|<""" + name + b">[^<]*</" + name + b">", b"", xmp)
        xmp = _cut_out(xmp, b"<Container:Directory", b"</Container:Directory>")
        xmp = _cut_out(xmp, b"<xmp:Thumbnails>", b"</xmp:Thumbnails>")
    return replace(metadata, exif=content, xmp=xmp)


def with_history(xmp: bytes | None, *, tool: str, parameters: str) -> bytes | None:
    """XMP that says, too, what made this version of the picture; as it is, where it is malformed or would be too long.

    Source: XMP specification, parts 1 and 2 (``xmp:CreatorTool``, ``xmpMM:History``).
    """
    text = xmp or _EMPTY_XMP
    entry = b'<rdf:li xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#" rdf:parseType="Resource">'
    entry += f"<stEvt:action>converted</stEvt:action><stEvt:softwareAgent>{escape(tool)}</stEvt:softwareAgent>".encode()
    entry += f"<stEvt:parameters>{escape(parameters)}</stEvt:parameters></rdf:li>".encode()
    created = b"" if b":CreatorTool" in text else f"<xmp:CreatorTool>{escape(tool)}</xmp:CreatorTool>".encode()
    history = text.find(b"<xmpMM:History>")
    if history >= 0:
        last = text.find(b"</rdf:Seq>", history, text.find(b"</xmpMM:History>"))
        text = text[:last] + entry + text[last:] if last >= 0 else b""
    else:
        created += b"<xmpMM:History><rdf:Seq>" + entry + b"</rdf:Seq></xmpMM:History>"
    end = text.rfind(b"</rdf:RDF>")
    if created:
        text = text[:end] + _DESCRIPTION + created + b"</rdf:Description>" + text[end:]
    return text if end >= 0 and len(text) < _LONGEST_XMP else xmp


def says_adobe_rgb(exif: bytes | None) -> bool:
    """Whether EXIF says, as cameras do, that the colors are Adobe RGB: "uncalibrated", by the rule R03.

    Source: JEITA CP-3461 (DCF 2.0).
    """
    try:
        parsed = _Exif(exif or b"")
        inner = parsed.values(parsed.values(parsed.main)[_EXIF_DIRECTORY])
        return inner.get(_COLOR_SPACE) == 0xFFFF and parsed.says_r03(inner[_INTEROPERABILITY])
    except (struct.error, ValueError, KeyError):
        return False


def companions(xmp: bytes | None) -> list[str]:
    """What XMP says that the file holds behind the picture: ``["the film of a motion photo"]``."""
    return [what for what, name in _COMPANIONS.items() if re.search(name, xmp or b"")]


def _cut_out(text: bytes, start: bytes, end: bytes) -> bytes:
    """The text without the parts from ``start`` to ``end``; linear in time, as a lazy regular expression isn't."""
    kept, at = [], 0
    while (first := text.find(start, at)) >= 0 and (last := text.find(end, first)) >= 0:
        kept.append(text[at:first])
        at = last + len(end)
    return b"".join([*kept, text[at:]])


class _Exif:
    """EXIF to be changed in place; every method raises `struct.error` where offsets lead outside of it."""

    def __init__(self, content: bytes) -> None:
        if content[:4] not in (b"II*\0", b"MM\0*"):
            raise ValueError("EXIF has no TIFF header")
        self.data = bytearray(content)
        self._order = "<" if content[:1] == b"I" else ">"
        self.main = self._unpack("I", 4)

    def reset_orientation(self) -> int:
        """Set the orientation to 1; returns what it was."""
        for tag, at in self._entries(self.main):
            if tag == _ORIENTATION:
                orientation = self._value(at)
                self._pack("HHIHH", at, tag, _SHORT, 1, 1, 0)
                return orientation if orientation in range(1, 9) else 1
        return 1

    def says_r03(self, directory: int) -> bool:
        return any(tag == 1 and self.data[at + 8 : at + 11] == b"R03" for tag, at in self._entries(directory))

    def values(self, directory: int) -> dict[int, int]:
        """The numbers in a directory by tag; of many, the last counts, as for Pillow."""
        return {tag: self._value(at) for tag, at in self._entries(directory)}

    def set_size(self, width: int, height: int) -> None:
        inner = {tag: self._value(at) for tag, at in self._entries(self.main) if tag == _EXIF_DIRECTORY}
        for directory in (self.main, *inner.values()):  # of many, the last counts, as for Pillow
            for tag, at in self._entries(directory):
                if tag in _WIDTH + _HEIGHT:
                    self._pack("HHII", at, tag, _LONG, 1, width if tag in _WIDTH else height)

    def drop_thumbnail(self) -> None:
        """Unlink the second directory and blank the JPEG it points to, or cut it off if nothing follows."""
        link = self.main + 2 + 12 * self._unpack("H", self.main)
        second = self._unpack("I", link)
        self._pack("I", link, 0)
        try:
            values = self.values(second) if second else {}
        except struct.error:
            return
        start, length = values.get(_THUMBNAIL_START, 0), values.get(_THUMBNAIL_LENGTH, 0)
        if self.data[start : start + 2] == b"\xff\xd8":
            self.data[start : start + length] = bytes(len(self.data[start : start + length]))
            if start + length >= len(self.data):
                del self.data[start:]

    def _entries(self, directory: int) -> Iterator[tuple[int, int]]:
        """Tag and position of each 12-byte entry of an image file directory."""
        for index in range(self._unpack("H", directory)):
            at = directory + 2 + 12 * index
            yield self._unpack("H", at), at

    def _value(self, at: int) -> int:
        return self._unpack("H" if self._unpack("H", at + 2) == _SHORT else "I", at + 8)

    def _unpack(self, kind: str, at: int) -> int:
        return int(struct.unpack_from(self._order + kind, self.data, at)[0])

    def _pack(self, kinds: str, at: int, *values: int) -> None:
        struct.pack_into(self._order + kinds, self.data, at, *values)
