"""TIFF decoding: pixels at full depth, and the tags worth keeping."""

from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT, TiffPage

from sr_cli.images.codecs.tiff_tags import RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, read_tags
from sr_cli.images.picture import Decoded, Unfit, bands, check_size

_COLORS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 3,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
_JPEG = (COMPRESSION.JPEG, COMPRESSION.JPEG_2000_LOSSY)
_ORIENTATION = 0x0112
_CM_PER_INCH = 2.54


def read_tiff(file: BinaryIO, *, max_pixels: int) -> Decoded:
    """Decode the first page of a TIFF.

    Raises:
        Unfit: the values aren't unsigned integers of 1 to 16 bits, or the color space isn't supported.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        if not isinstance(page, TiffPage):
            raise Unfit("has no page")
        check_size(page.imagewidth, page.imagelength, max_pixels)
        colors = _colors(page)
        orientation = page.tags.valueof(_ORIENTATION, default=1)
        dpi = _dpi(page)
        if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _JPEG:
            pixels = np.asarray(Image.open(file, formats=("TIFF",)).convert("RGB"))
            orientation = 1  # Pillow has applied it
        else:
            pixels = _values(page)
    metadata = replace(read_tags(file), dpi=dpi)
    return Decoded(pixels=pixels, colors=colors, metadata=metadata, format="TIFF", orientation=orientation)


def _colors(page: TiffPage) -> int:
    """The number of color channels.

    Raises:
        Unfit: values or colors of an unsupported kind, which the message names.
    """
    kind, bits = page.sampleformat, page.bitspersample
    if kind != SAMPLEFORMAT.UINT or bits > 16 or page.dtype is None:
        name = {SAMPLEFORMAT.INT: "signed integer", SAMPLEFORMAT.IEEEFP: "float", SAMPLEFORMAT.UINT: "integer"}
        raise Unfit(
            f"holds {bits}-bit {name.get(SAMPLEFORMAT(kind), 'unknown')} values; convert it to 16-bit unsigned "
            "integers first"
        )
    if page.photometric not in _COLORS or page.axes not in ("YX", "YXS", "SYX"):
        raise Unfit(f"has unsupported colors ({PHOTOMETRIC(page.photometric).name}, axes {page.axes})")
    colors = _COLORS[PHOTOMETRIC(page.photometric)]
    stored = 1 if page.photometric == PHOTOMETRIC.PALETTE else colors
    if page.samplesperpixel < stored:
        raise Unfit(f"has {page.samplesperpixel} channels where its colors need {stored}")
    return colors


def _values(page: TiffPage) -> npt.NDArray[Any]:
    """Color and straight alpha over the full range of uint8 or uint16, ``(H, W, C)``."""
    planes = page.asarray()
    planes = np.moveaxis(planes, 0, -1) if page.axes == "SYX" else np.atleast_3d(planes)
    if planes.shape[:2] != (page.imagelength, page.imagewidth):
        raise Unfit("is damaged (fewer pixels than its header says)")
    if page.photometric == PHOTOMETRIC.PALETTE:
        return _apply_palette(planes, page)
    dtype, stored_bits = (np.uint8, page.bitspersample) if page.bitspersample <= 8 else (np.uint16, page.bitspersample)
    top, stored_top = int(np.iinfo(dtype).max), 2**stored_bits - 1
    colors = _COLORS[PHOTOMETRIC(page.photometric)]
    planes = planes[..., : colors + _has_alpha(page, colors)]
    if stored_top != top:
        planes = (planes.astype(np.uint32) * top + stored_top // 2) // stored_top
    values = planes.astype(dtype, copy=False)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        values = np.concatenate([top - values[..., :1], values[..., 1:]], axis=-1)
    if page.extrasamples and page.extrasamples[0] == EXTRASAMPLE.ASSOCALPHA:
        return _unpremultiply(values)
    return values


def _has_alpha(page: TiffPage, colors: int) -> bool:
    """Whether the channel after the colors is alpha: it is declared so, or is the only one and isn't declared."""
    if page.extrasamples:
        return page.extrasamples[0] in (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
    return page.samplesperpixel == colors + 1


def _apply_palette(indices: npt.NDArray[Any], page: TiffPage) -> npt.NDArray[np.uint8]:
    if page.colormap is None:
        raise Unfit("is damaged (a palette image without a palette)")
    colormap = page.colormap.T
    # The standard says 16 bits; some writers use 8.
    palette = (colormap >> 8 if colormap.max(initial=0) > 255 else colormap).astype(np.uint8)
    colors: npt.NDArray[np.uint8] = palette[np.minimum(indices[..., 0], len(palette) - 1)]
    return colors


def _unpremultiply(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Divide the colors by alpha."""
    top = np.iinfo(values.dtype).max
    straight = np.empty_like(values)
    for rows in bands(*values.shape[:2]):
        alpha = values[rows][..., -1:].astype(np.float32)
        color = values[rows][..., :-1] * (top / np.maximum(alpha, 1))
        straight[rows] = np.concatenate([np.minimum(color + 0.5, top), alpha], axis=-1)
    return straight


def _dpi(page: TiffPage) -> tuple[float, float] | None:
    unit = page.tags.valueof(RESOLUTION_UNIT, default=2)
    pairs = [page.tags.valueof(tag, default=None) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    if unit not in (2, 3) or not all(isinstance(pair, tuple) and len(pair) == 2 and all(pair) for pair in pairs):
        return None
    x, y = (pair[0] / pair[1] * (_CM_PER_INCH if unit == 3 else 1) for pair in pairs)
    return x, y
