"""`Picture`: the pixels of an image file in its own color space, and the metadata that is written with them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

PQ, HLG = 16, 18
"""The HDR transfer functions of ITU-T H.273."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its pixels.

    Attributes:
        icc: the ICC profile, byte for byte; or one that says what the file says in other ways.
        cicp: primaries and transfer by the numbers of ITU-T H.273, if the file says them and they aren't sRGB. For HDR
            (`is_hdr`) there is no profile beside them.
        exif: a TIFF structure without the ``Exif\\0\\0`` prefix and without a thumbnail; its orientation is 1.
        dpi: horizontal and vertical resolution, in pixels per inch.
        png_chunks: text and color chunks (type, content) that only PNG has and that are written to PNG again.
    """

    icc: bytes | None = None
    cicp: tuple[int, int] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def is_hdr(self) -> bool:
        return self.cicp is not None and self.cicp[1] in (PQ, HLG)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture, upright, in the color space and at the bit depth of its file.

    Attributes:
        color: ``(H, W, 1)`` gray or ``(H, W, 3)`` RGB, uint8 or uint16, not premultiplied.
        alpha: ``(H, W)`` of the same dtype, or ``None`` if the file has none.
        format: a key of `sr_cli.images.FORMATS`, such as ``"PNG"``; of a video's frame the codec, if that is lossy.
        notes: what its file has that was not read, in sentences for a warning.
    """

    color: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str = "PNG"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.color.ndim != 3 or self.color.shape[2] not in (1, 3):
            raise ValueError(f"color has shape {self.color.shape}, not (H, W, 1) or (H, W, 3)")
        if self.color.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"color is {self.color.dtype}, not uint8 or uint16")
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != (self.color.shape[:2], self.color.dtype):
            raise ValueError(f"alpha is {self.alpha.dtype} {self.alpha.shape}, unlike its color")

    @property
    def height(self) -> int:
        return int(self.color.shape[0])

    @property
    def width(self) -> int:
        return int(self.color.shape[1])

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 8 * self.color.dtype.itemsize

    @property
    def is_gray(self) -> bool:
        return bool(self.color.shape[2] == 1)

    @property
    def channels(self) -> int:
        """Channels of color, plus one for alpha."""
        return int(self.color.shape[2]) + (self.alpha is not None)

    def without_metadata(self) -> "Picture":
        """The picture with only what its colors need to look right: the ICC profile, CICP and PNG's color chunks."""
        color_chunks = tuple(chunk for chunk in self.metadata.png_chunks if not chunk[0].endswith(b"Xt"))
        return replace(self, metadata=Metadata(icc=self.metadata.icc, cicp=self.metadata.cicp, png_chunks=color_chunks))


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The output of a decoder, from which `sr_cli.images.read` makes a `Picture`.

    Attributes:
        pixels: ``(H, W, C)`` uint8 or uint16 as stored in the file: color, then alpha if there is any.
        colors: the number of color channels: 1 gray, 3 RGB, 4 CMYK (0 is no ink).
        metadata: as stored in the file.
        orientation: as in EXIF, 1 to 8; ``None`` leaves it to the EXIF data.
        notes: as in `Picture`.
    """

    pixels: npt.NDArray[Any]
    colors: int
    metadata: Metadata
    format: str
    orientation: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the beginning of a file says: its format, a key of `sr_cli.images.FORMATS`, and its size."""

    format: str
    width: int
    height: int


class Unfit(ValueError):  # noqa: N818
    """Why a file's content cannot be used; the reader puts the file's name in front."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a decompression bomb before it is unpacked: raises `Unfit` for no pixels or more than ``max_pixels``."""
    if width < 1 or height < 1:
        raise Unfit(f"has no pixels ({width} × {height})")
    if width * height > max_pixels:
        raise Unfit(f"has {width} × {height} pixels, more than {describe_limit(max_pixels)}")


def describe_limit(max_pixels: int) -> str:
    """The limit in words, and how to raise it."""
    remedy = "raise it (sr upscale --max-input, or max_pixels=) if you trust the file"
    return f"the limit of {max_pixels / 1e6:.6g} megapixels; {remedy}"


def band_rows(width: int) -> int:
    """How many rows of this width make a band of about half a megapixel."""
    return max(1, (1 << 19) // max(1, width))


def bands(height: int, width: int) -> Iterator[slice]:
    """Slices of rows, top to bottom, of about half a megapixel each, to keep temporary arrays small."""
    rows = band_rows(width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def rechunk(pieces: Iterable[npt.NDArray[Any]], rows: int) -> Iterator[npt.NDArray[Any]]:
    """Regroup rows into copies of exactly ``rows`` each; only the last may be shorter."""
    waiting: list[npt.NDArray[Any]] = []
    missing = rows
    for piece in pieces:
        while len(piece) >= missing:
            yield np.concatenate([*waiting, piece[:missing]])
            piece, waiting, missing = piece[missing:], [], rows
        if len(piece):
            waiting.append(piece)
            missing -= len(piece)
    if waiting:
        yield np.concatenate(waiting)


def to_8_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Round to uint8; uint8 input is returned as it is."""
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    rounded = np.empty(pixels.shape, np.uint8)
    for rows in bands(*pixels.shape[:2]):
        rounded[rows] = (pixels[rows].astype(np.uint32) + 128) // 257
    return rounded


def rescale(pixels: npt.NDArray[Any], top: int, new_top: int) -> npt.NDArray[np.uint16]:
    """Stretch or shrink 0 … ``top`` to 0 … ``new_top``, rounded; both are below 2¹⁶."""
    scaled = np.empty(pixels.shape, np.uint16)
    for rows in bands(*pixels.shape[:2]):
        scaled[rows] = (np.minimum(pixels[rows], top).astype(np.uint32) * new_top + top // 2) // top
    return scaled
