"""Pixels, profiles and metadata out of which the tests of `sr_cli.images` make their files."""

import io
import itertools
import struct
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, TiffImagePlugin

D65 = (0.3127, 0.329, 1.0)
PRIMARIES = {
    "display-p3": (0.680, 0.320, 1, 0.265, 0.690, 1, 0.150, 0.060, 1),
    "adobe-rgb": (0.640, 0.330, 1, 0.210, 0.710, 1, 0.150, 0.060, 1),
    "prophoto": (0.7347, 0.2653, 1, 0.1596, 0.8404, 1, 0.0366, 0.0001, 1),
}
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'tiff:Orientation="6" tiff:ImageWidth="40"><tiff:ImageLength>30</tiff:ImageLength><dc:title>A heron</dc:title>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
)
CYAN_INK = (0, 150, 210)
"""What full cyan looks like under `cmyk_profile`."""


def gradient(height: int = 30, width: int = 40, *, channels: int = 3, dtype: Any = np.uint8) -> npt.NDArray[Any]:
    """Smooth colors over the full range, no two rows or columns alike; 16-bit ones don't fit into 8 bits."""
    top = np.iinfo(dtype).max
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    planes = [x, y, (x + y) / 2, 1 - x * y][:channels]
    return (np.stack(planes, axis=-1) * top + 0.37).astype(dtype)


@cache  # a profile holds the time of its making
def rgb_profile(name: str = "display-p3", gamma: float = 2.19921875) -> bytes:
    """An RGB profile of a matrix and one tone curve."""
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=PRIMARIES[name], gamma=gamma))


@cache
def gray_profile(gamma: float = 1.8) -> bytes:
    return bytes(imagecodecs.cms_profile("gray", whitepoint=D65, gamma=gamma))


def cmyk_profile() -> bytes:
    """A CMYK profile that is a table of Lab colors of all 16 overprints, with an unusual cyan."""
    inks = np.array([CYAN_INK, (255, 0, 255), (255, 255, 0), (0, 0, 0)]) / 255
    prints = [
        np.prod([ink if on else np.ones(3) for ink, on in zip(inks, which, strict=True)], axis=0)
        for which in itertools.product((0, 1), repeat=4)
    ]
    return _table_profile(b"prtrCMYK", np.array(prints), np.arange(256))


def rgb_table_profile(gamma: float = 0.5) -> bytes:
    """An RGB profile that is a table of the Lab colors of the cube's corners, over values to the power of ``gamma``."""
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    return _table_profile(b"scnrRGB ", corners, 255 * (np.arange(256) / 255) ** gamma)


def _table_profile(kind: bytes, corners: npt.NDArray[Any], curve: npt.NDArray[Any]) -> bytes:
    """A profile of one table with two steps for each channel.

    Args:
        kind: device class and color space.
        corners: ``(2 ** channels, 3)`` in [0, 1], sRGB.
        curve: what is done to the 256 values of each channel first.
    """
    channels = len(corners).bit_length() - 1
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    colors = Image.fromarray(np.round(corners[None] * 255).astype(np.uint8))
    table = ImageCms.applyTransform(colors, ImageCms.buildTransform(srgb, lab, "RGB", "LAB")).tobytes()
    # Pillow's a* and b* are two's complement, the profile's are offset by 128.
    table = bytes(value if index % 3 == 0 else value ^ 0x80 for index, value in enumerate(table))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    first, linear = bytes(curve.round().astype(np.uint8)), bytes(range(256))
    lookup = b"mft1" + bytes(4) + bytes([channels, 3, 2, 0]) + matrix + channels * first + table + 3 * linear
    text = b"text" + bytes(4) + b"test inks\0"
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78)
    tags = {b"desc": description, b"cprt": text, b"wtpt": white, b"A2B0": lookup}
    index, data = b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        index += name + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    header = bytes(8) + b"\x02\x40\0\0" + kind + b"Lab " + bytes(12) + b"acsp" + bytes(28) + d50 + bytes(48)
    body = header[4:] + struct.pack(">I", len(tags)) + index + data
    return struct.pack(">I", 4 + len(body)) + body


def exif(orientation: int = 6, *, width: int = 40, height: int = 30) -> bytes:
    """EXIF of a camera: model, orientation, dimensions, position, maker note, and a thumbnail; no ``Exif\\0\\0``."""
    tags = Image.Exif()
    tags[0x0110] = "Heron 1"
    tags[0x0112] = orientation
    tags[0x0100], tags[0x0101] = width, height
    tags.get_ifd(0x8769).update({0xA002: width, 0xA003: height, 0x829A: TiffImagePlugin.IFDRational(1, 250)})
    tags.get_ifd(0x8769)[0x927C] = b"maker note \0\1\2"
    tags.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    content = bytearray(tags.tobytes().removeprefix(b"Exif\0\0"))
    return bytes(_with_thumbnail(content))


def _with_thumbnail(content: bytearray) -> bytearray:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(file, "JPEG")
    order = "<" if content[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, first)
    second = len(content) + len(content) % 2
    struct.pack_into(order + "I", content, first + 2 + 12 * count, second)
    content += bytes(second - len(content))
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, second + 2 + 36 + 4), (0x0202, 4, 1, file.tell())]
    content += struct.pack(order + "H", len(entries))
    for tag, kind, number, value in entries:
        packed = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        content += struct.pack(order + "HHI", tag, kind, number) + packed
    return content + bytes(4) + file.getvalue()


def exif_of(content: bytes | None) -> Image.Exif:
    """EXIF without ``Exif\\0\\0``, parsed by Pillow."""
    assert content is not None
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + content)
    return tags
