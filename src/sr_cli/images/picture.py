"""What a picture file holds: pixels in the file's own color space, and the metadata that goes back out with them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its pixels.

    Attributes:
        icc: the ICC profile of the colors, byte for byte.
        exif: a TIFF structure, without the ``Exif\\0\\0`` in front; its orientation has been applied and set to 1.
        xmp: the XMP packet.
        dpi: horizontal and vertical resolution, in pixels an inch.
        png_chunks: text and color chunks (type, content) that only PNG has; they go out again to PNG.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture, upright, in the color space and at the bit depth of its file.

    Attributes:
        color: ``(H, W, 1)`` grey or ``(H, W, 3)`` RGB, uint8 or uint16, not premultiplied.
        alpha: ``(H, W)`` of the same dtype, or ``None`` where everything is opaque by format.
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
        return self.color.shape[2] == 1


def bands(height: int, width: int, *, pixels: int = 1 << 20) -> Iterator[slice]:
    """Slices of rows, top to bottom, of about ``pixels`` pixels each: large work in small pieces of memory."""
    rows = max(1, pixels // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
