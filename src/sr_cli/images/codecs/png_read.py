"""PNG decoding: pixels at full depth, and the chunks worth keeping."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import imagecodecs
import numpy as np

from sr_cli.images.icc import described_by_png
from sr_cli.images.picture import Decoded, Metadata, Unfit, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
METERS_PER_INCH = 0.0254

_KEPT = {b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
_COLOR_TYPE_AT, _PALETTE = 25, 3  # in the header, which comes first
_MAX_TEXT = 1 << 26
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by color type


def read_png(file: BinaryIO, *, max_pixels: int) -> Decoded:
    """Decode a PNG: 16 bits stay 16 bits, palettes become colors, or gray; an animated PNG gives its still picture.

    Raises:
        Unfit: no header, or too many pixels. Damaged pixels raise imagecodecs' own errors.
    """
    file.seek(0)
    content = file.read()
    metadata: dict[str, Any] = {}
    kept = []
    has_gray_palette = False
    for index, (kind, start, end) in enumerate(_chunks(content)):
        if (kind == b"IHDR") != (index == 0):
            raise Unfit("is damaged (a PNG whose header is not in its place)")
        if kind == b"IHDR":
            width, height, depth, color_type = struct.unpack_from(">IIBB", content[start:end])
            if depth not in _DEPTHS.get(color_type, ()):
                raise Unfit(f"is damaged (a PNG of {depth} bits and color type {color_type})")
            check_size(width, height, max_pixels)
        elif kind not in (b"IDAT", b"fdAT") and end - start <= _MAX_TEXT:
            body = content[start:end]
            has_gray_palette |= kind == b"PLTE" and body[0::3] == body[1::3] == body[2::3]
            metadata |= _parse_chunk(kind, body)
            if kind in _KEPT and not body.startswith(XMP_KEYWORD):
                kept.append((kind, body))
    pixels = np.atleast_3d(imagecodecs.png_decode(content))
    if has_gray_palette and content[_COLOR_TYPE_AT] == _PALETTE:
        pixels = pixels[..., [0, *range(3, pixels.shape[2])]]
    colors = 1 if pixels.shape[2] <= 2 else 3
    if "icc" not in metadata or b"cICP" in dict(kept):  # a profile beside cICP is for readers that don't know it
        metadata |= described_by_png(dict(kept), colors)
    return Decoded(pixels=pixels, colors=colors, metadata=Metadata(**metadata, png_chunks=tuple(kept)), format="PNG")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each chunk's content."""
    at = len(SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, at + 8, at + 8 + length
        at += length + 12


def _parse_chunk(kind: bytes, content: bytes) -> dict[str, Any]:
    """The content of one chunk as arguments of `Metadata`; empty for other and for malformed chunks."""
    try:
        if kind == b"iCCP":
            return {"icc": _inflate(content[content.index(b"\0") + 2 :])}
        if kind == b"eXIf":
            return {"exif": content}
        if kind == b"iTXt" and content.startswith(XMP_KEYWORD):
            is_compressed = content[len(XMP_KEYWORD)]
            text = content[len(XMP_KEYWORD) + 2 :].split(b"\0", 2)[2]  # after the language and the translated keyword
            return {"xmp": _inflate(text) if is_compressed else text}
        if kind == b"pHYs" and content[8:] == b"\1":
            x, y = (per_meter * METERS_PER_INCH for per_meter in struct.unpack(">II", content[:8]))
            return {"dpi": (x, y)} if x and y else {}
    except (ValueError, IndexError, zlib.error, struct.error):
        pass
    return {}


def _inflate(compressed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    content = inflater.decompress(compressed, _MAX_TEXT)
    if inflater.unconsumed_tail:
        raise ValueError("unpacks to more than 64 MB")
    return content
