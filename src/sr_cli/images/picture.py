"""What a picture file holds: pixels in the file's own color space, and the metadata that goes back out with them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its pixels.

    Attributes:
        icc: the ICC profile of the colors, byte for byte.
        exif: a TIFF structure, without ``Exif\\0\\0`` in front and without thumbnail; its orientation is 1, applied.
        xmp: the XMP packet.
        dpi: horizontal and vertical resolution, in pixels an inch.
        png_chunks: text and color chunks (type, content) that only PNG has; they go out again to PNG.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()

    def stripped(self) -> "Metadata":
        """Only what the colors need to look right: the profile and PNG's color chunks."""
        return Metadata(icc=self.icc, png_chunks=tuple(c for c in self.png_chunks if not c[0].endswith(b"Xt")))


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture, upright, in the color space and at the bit depth of its file.

    Attributes:
        color: ``(H, W, 1)`` grey or ``(H, W, 3)`` RGB, uint8 or uint16, not premultiplied.
        alpha: ``(H, W)`` of the same dtype, or ``None`` where the file has none.
        format: ``"PNG"``, ``"JPEG"``, ``"WEBP"``, ``"TIFF"``, ``"BMP"``, ``"AVIF"``, ``"GIF"`` or ``"HEIF"``.
    """

    color: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str = "PNG"

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
        """Bits a channel: 8 or 16."""
        return 8 * self.color.dtype.itemsize

    @property
    def is_grey(self) -> bool:
        return bool(self.color.shape[2] == 1)

    def without_metadata(self) -> "Picture":
        """The picture with nothing that says more than how its colors are meant."""
        return replace(self, metadata=self.metadata.stripped())


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a decoder got out of a file, before it is made a `Picture`.

    Attributes:
        pixels: ``(H, W, C)`` uint8 or uint16, color and then perhaps alpha, as they lie in the file.
        colors: how many of the channels are color: 1 grey, 3 RGB, 4 CMYK (0 is no ink).
        metadata: as it stands in the file.
        orientation: EXIF's number for how to turn the pixels; ``None`` leaves it to the EXIF.
    """

    pixels: npt.NDArray[Any]
    colors: int
    metadata: Metadata
    format: str
    orientation: int | None = None


class Unfit(ValueError):  # noqa: N818
    """Why a file's content cannot be used; the reader puts the file's name in front."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a decompression bomb before it is unpacked.

    Raises:
        Unfit: no pixels, or more than ``max_pixels``.
    """
    if width < 1 or height < 1:
        raise Unfit(f"has no pixels ({width} × {height})")
    if width * height > max_pixels:
        raise Unfit(f"has {width} × {height} pixels, more than {the_limit(max_pixels)}")


def the_limit(max_pixels: int) -> str:
    """The limit in words, and how to raise it."""
    remedy = "raise it (sr upscale --max-input, or max_pixels=) if you trust the file"
    return f"the limit of {max_pixels / 1e6:.6g} megapixels; {remedy}"


def band_rows(width: int) -> int:
    """How many rows of this width make a piece of about half a megapixel."""
    return max(1, (1 << 19) // max(1, width))


def bands(height: int, width: int) -> Iterator[slice]:
    """Slices of rows, top to bottom, of about half a megapixel each: large work in small pieces of memory."""
    rows = band_rows(width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def to_8_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """The pixels as uint8, rounded to the nearest; themselves when they are that already."""
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    rounded = np.empty(pixels.shape, np.uint8)
    for rows in bands(*pixels.shape[:2]):
        rounded[rows] = (pixels[rows].astype(np.uint32) + 128) // 257
    return rounded
