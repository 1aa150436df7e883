"""PNG: its chunks, its pixels at full depth, and a writer that needs only some rows at a time."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import numpy.typing as npt

from sr_cli.images.in_order import InOrder
from sr_cli.images.metadata import sized
from sr_cli.images.picture import Decoded, Metadata, Pixels, Unfit, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEFAULT_LEVEL = 2
"""Measured on an upscaled photo, one thread: level 1 22 MP/s and 0.353 of the raw size, 2: 25 and 0.339, 3: 14 and
0.323, 6: 4 and 0.295; Pillow's default (6, filters chosen row by row): 2.4 and 0.296."""

_KEPT = {b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
_XMP = b"XML:com.adobe.xmp\0"
_INCH = 0.0254
_LONGEST_CHUNK = 1 << 26
_UP = 2


def read_png(file: BinaryIO, *, max_pixels: int) -> Decoded:
    """Decode a PNG, 16 bits as 16 bits, palettes resolved; of an animation the still picture.

    Raises:
        Unfit: no header, or too many pixels. Damage raises what imagecodecs raises.
    """
    metadata: dict[str, Any] = {}
    kept = []
    for index, (kind, content) in enumerate(_chunks(file)):
        if (kind == b"IHDR") != (index == 0):
            raise Unfit("is damaged (a PNG whose header is not in its place)")
        if kind == b"IHDR":
            width, height = struct.unpack(">II", content[:8])
            check_size(width, height, max_pixels)
        elif kind == b"iCCP":
            metadata["icc"] = _inflated(content[content.index(b"\0") + 2 :])
        elif kind == b"eXIf":
            metadata["exif"] = content
        elif kind == b"iTXt" and content.startswith(_XMP):
            metadata["xmp"] = _international_text(content)
        elif kind == b"pHYs" and content[8:] == b"\1":
            metadata["dpi"] = tuple(per_meter * _INCH for per_meter in struct.unpack(">II", content[:8]))
        elif kind in _KEPT:
            kept.append((kind, content))
    file.seek(0)
    pixels = np.atleast_3d(imagecodecs.png_decode(file.read()))
    colors = 1 if pixels.shape[2] <= 2 else 3
    return Decoded(pixels=pixels, colors=colors, metadata=Metadata(**metadata, png_chunks=tuple(kept)), format="PNG")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk; those of pixel data come without it."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IDAT", b"fdAT"):
            file.seek(length, io.SEEK_CUR)
            content = b""
        elif length > _LONGEST_CHUNK:
            raise Unfit(f"is damaged (a PNG chunk of {length} bytes)")
        else:
            content = file.read(length)
        file.seek(4, io.SEEK_CUR)
        if kind == b"IEND":
            return
        yield kind, content


def _inflated(compressed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    content = inflater.decompress(compressed, _LONGEST_CHUNK)
    if inflater.unconsumed_tail:
        raise Unfit("is damaged (a PNG text or profile that unpacks to more than 64 MB)")
    return content


def _international_text(content: bytes) -> bytes:
    keyword_end = content.index(b"\0")
    compressed = content[keyword_end + 1]
    text = content[keyword_end + 3 :].split(b"\0", 2)[2]  # after the language and the translated keyword
    return _inflated(text) if compressed else text


class PngRows:
    """Writes a PNG band by band: rows are filtered here and compressed in threads; the file needn't be seekable.

    Each row is filtered by ``Up``: on upscaled pictures it comes within 2 % of choosing among the five filters, and
    runs at memory speed. Every band ends in a deflate sync flush, so bands compress independently and join up.
    """

    def __init__(
        self, file: BinaryIO, *, width: int, height: int, channels: int, dtype: np.dtype[Any], metadata: Metadata,
        level: int = DEFAULT_LEVEL,
    ) -> None:  # fmt: skip
        self._file = file
        self._level = level
        self._checksum = zlib.adler32(b"")
        self._above: npt.NDArray[np.uint8] = np.zeros(width * channels * dtype.itemsize, np.uint8)
        self._compressed = InOrder(_deflated, self._chunk_of_pixels)
        color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
        file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * dtype.itemsize, color_type, 0, 0, 0))
        for kind, content in _metadata_chunks(sized(metadata, width, height)):
            self._chunk(kind, content)
        self._chunk_of_pixels(b"\x78\x01")  # the zlib header: deflate, 32 KB window

    def add(self, pixels: Pixels) -> None:
        """Append rows, ``(h, W, C)``."""
        rows = pixels if pixels.dtype == np.uint8 else pixels.astype(">u2")
        raw = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
        filtered = np.empty((len(raw), raw.shape[1] + 1), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(raw[0], self._above, out=filtered[0, 1:])
        np.subtract(raw[1:], raw[:-1], out=filtered[1:, 1:])
        self._above = raw[-1].copy()
        self._checksum = zlib.adler32(filtered.data, self._checksum)
        self._compressed.submit(filtered, self._level)

    def finish(self) -> None:
        """Write what is under way, and the end of the file."""
        self._compressed.finish()
        self._chunk_of_pixels(b"\x03\x00" + struct.pack(">I", self._checksum))  # an empty last block
        self._chunk(b"IEND", b"")

    def close(self) -> None:
        """Stop the threads."""
        self._compressed.close()

    def _chunk_of_pixels(self, content: bytes) -> None:
        self._chunk(b"IDAT", content)

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self._file.write(struct.pack(">I", len(content)) + kind)
        self._file.write(content)
        self._file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))


def _deflated(filtered: npt.NDArray[np.uint8], level: int) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15, 9)
    return deflater.compress(filtered.data) + deflater.flush(zlib.Z_SYNC_FLUSH)


def _metadata_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.icc:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)
    colors = [chunk for chunk in metadata.png_chunks if not chunk[0].endswith(b"Xt")]
    texts = [chunk for chunk in metadata.png_chunks if chunk[0].endswith(b"Xt")]
    yield from colors
    if metadata.dpi:
        yield b"pHYs", struct.pack(">IIB", *(min(2**31 - 1, max(1, round(dpi / _INCH))) for dpi in metadata.dpi), 1)
    yield from texts
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", _XMP + b"\0\0\0\0" + metadata.xmp
