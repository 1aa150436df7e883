"""TIFF decoding: pixels at full depth, and the tags worth keeping."""

import math
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT, TiffPage

from sr_cli.images.codecs.tiff_tags import read_tags
from sr_cli.images.picture import Decoded, Header, Unfit, bands, check_size, describe_limit

_CHANNELS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
_KINDS = {SAMPLEFORMAT.INT: "signed integer", SAMPLEFORMAT.IEEEFP: "float", SAMPLEFORMAT.UINT: "integer"}
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
_JPEG = (COMPRESSION.JPEG, COMPRESSION.JPEG_2000_LOSSY)
_USUAL_SAMPLES = 4
_MAX_RATIO = 1 << 16  # Deflate and LZW end at about 1,000; Zstandard and JPEG XL pack one color much tighter
_UNITS = {2: 1, 3: 2.54}  # per inch of the unit: inch, centimeter


def read_header(file: BinaryIO) -> Header:
    """The size of the first page once it is upright; raises `Unfit` for values and colors that `read_tiff` refuses."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = _first_page(tiff)
        _check_colors(page)
        is_transposed = page.tags.valueof("Orientation", default=1) in (5, 6, 7, 8)
        width, height = page.imagewidth, page.imagelength
    return Header(format="TIFF", width=height if is_transposed else width, height=width if is_transposed else height)


def read_tiff(file: BinaryIO, *, max_pixels: int) -> Decoded:
    """Decode the first page; `Unfit` if it isn't of unsigned integers of 1 to 16 bits, or if its colors are unknown."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = _first_page(tiff)
        check_size(page.imagewidth, page.imagelength, max_pixels)
        _check_memory(page, max_pixels, file.seek(0, 2))
        channels = _check_colors(page)
        orientation = page.tags.valueof("Orientation", default=1)
        dpi = _dpi(page)
        if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _JPEG:
            pixels = np.asarray(Image.open(file, formats=("TIFF",)).convert("RGB"))
            orientation = 1  # Pillow has applied it
        else:
            pixels = _values(page, channels)
    colors = pixels.shape[2] if page.photometric == PHOTOMETRIC.PALETTE else channels
    metadata = replace(read_tags(file), dpi=dpi)
    return Decoded(pixels=pixels, colors=colors, metadata=metadata, format="TIFF", orientation=orientation)


def _first_page(tiff: tifffile.TiffFile) -> TiffPage:
    page = tiff.pages.first
    if not isinstance(page, TiffPage):
        raise Unfit("has no page")
    return page


def _check_memory(page: TiffPage, max_pixels: int, file_size: int) -> None:
    """Refuse what would take far more memory than its pixels, or is more than so small a file can hold."""
    if page.imagewidth * page.imagelength * page.samplesperpixel > _USUAL_SAMPLES * max_pixels:
        size = f"{page.imagewidth} × {page.imagelength} pixels of {page.samplesperpixel} channels"
        raise Unfit(f"has {size}, more than those of {_USUAL_SAMPLES} channels at {describe_limit(max_pixels)}")
    if math.prod(page.chunked) > file_size or page.nbytes > file_size * _MAX_RATIO:
        raise Unfit("is damaged (its header says more than its file can hold)")


def _check_colors(page: TiffPage) -> int:
    """The number of channels that hold color; raises `Unfit` for unsupported values or colors."""
    kind, bits = page.sampleformat, page.bitspersample
    if kind != SAMPLEFORMAT.UINT or bits > 16 or page.dtype is None:
        name = _KINDS.get(SAMPLEFORMAT(kind), "unknown")
        raise Unfit(f"holds {bits}-bit {name} values; convert it to 16-bit unsigned integers first")
    if page.photometric not in _CHANNELS or page.axes not in ("YX", "YXS", "SYX"):
        raise Unfit(f"has unsupported colors ({PHOTOMETRIC(page.photometric).name}, axes {page.axes})")
    channels = _CHANNELS[PHOTOMETRIC(page.photometric)]
    if page.samplesperpixel < channels:
        raise Unfit(f"has {page.samplesperpixel} channels where its colors need {channels}")
    return channels


def _values(page: TiffPage, colors: int) -> npt.NDArray[Any]:
    """Color and straight alpha over the full range of uint8 or uint16, ``(H, W, C)``."""
    planes = page.asarray()
    planes = np.moveaxis(planes, 0, -1) if page.axes == "SYX" else np.atleast_3d(planes)
    if planes.shape[:2] != (page.imagelength, page.imagewidth):
        raise Unfit("is damaged (fewer pixels than its header says)")
    if page.photometric == PHOTOMETRIC.PALETTE:
        return _apply_palette(planes[..., 0], page)
    # The channel after the colors is alpha if it is declared so, or if it is the only one and isn't declared.
    extra = page.extrasamples[:1]
    alpha = extra[0] in _ALPHA if extra else page.samplesperpixel == colors + 1
    dtype: npt.DTypeLike = np.uint8 if page.bitspersample <= 8 else np.uint16
    top, stored_top = int(np.iinfo(dtype).max), 2**page.bitspersample - 1
    planes = planes[..., : colors + alpha]
    if stored_top != top:
        planes = (planes.astype(np.uint32) * top + stored_top // 2) // stored_top
    values = planes.astype(dtype, copy=False)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        values = np.concatenate([top - values[..., :1], values[..., 1:]], axis=-1)
    return _unpremultiply(values) if extra == (EXTRASAMPLE.ASSOCALPHA,) else values


def _apply_palette(indices: npt.NDArray[Any], page: TiffPage) -> npt.NDArray[np.uint8]:
    if page.colormap is None:
        raise Unfit("is damaged (a palette image without a palette)")
    colormap = page.colormap.T
    # The standard says 16 bits; some writers use 8.
    palette = (colormap >> 8 if colormap.max(initial=0) > 255 else colormap).astype(np.uint8)
    palette = palette[:, :1] if (palette == palette[:, :1]).all() else palette  # gray stays gray
    colors: npt.NDArray[np.uint8] = palette[np.minimum(indices, len(palette) - 1)]
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
    unit = _UNITS.get(page.tags.valueof("ResolutionUnit", default=2))
    pairs = [page.tags.valueof(name, default=None) for name in ("XResolution", "YResolution")]
    if unit is None or not all(isinstance(pair, tuple) and len(pair) == 2 and all(pair) for pair in pairs):
        return None
    x, y = (pair[0] / pair[1] * unit for pair in pairs)
    return x, y
