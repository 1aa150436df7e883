"""BMP with alpha, which Pillow reads and does not write."""

import struct
from typing import BinaryIO

import numpy as np

from sr_cli.images.picture import Picture, bands, to_8_bit

_FILE_HEADER, _V4_HEADER = 14, 108
_BITFIELDS = 3
_BLUE_GREEN_RED = (2, 1, 0)


def write_bmp_with_alpha(file: BinaryIO, picture: Picture) -> None:
    """Write 32 bits a pixel with a version 4 header, whose masks say which 8 of them are alpha.

    Raises:
        ValueError: the picture has no alpha.
        struct.error: it has more than 4 GB.
    """
    if picture.alpha is None:
        raise ValueError("a picture without alpha")
    height, width = picture.height, picture.width
    size = 4 * height * width
    start = _FILE_HEADER + _V4_HEADER
    per_meter = [round(dpi / 0.0254) for dpi in picture.metadata.dpi or (72, 72)]
    file.write(struct.pack("<2sIII", b"BM", start + size, 0, start))
    # A negative height: rows go from top to bottom.
    file.write(struct.pack("<IiiHHIIiiII", _V4_HEADER, width, -height, 1, 32, _BITFIELDS, size, *per_meter, 0, 0))
    file.write(struct.pack("<4I4s", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs") + bytes(48))
    for rows in bands(height, width):
        color = to_8_bit(picture.color[rows])
        color = np.broadcast_to(color, (*color.shape[:2], 3))[..., _BLUE_GREEN_RED]
        file.write(np.dstack([color, to_8_bit(picture.alpha[rows])]).tobytes())
