"""ICC profiles: tone curves and conversion to sRGB, computed by Little CMS."""

import struct
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import ImageCms

_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
_CURVES = {1: (b"kTRC",), 3: (b"rTRC", b"gTRC", b"bTRC")}

# The sRGB curve of IEC 61966-2-1 as a parametricCurveType, function type 3.
_SRGB_CURVE = b"para" + struct.pack(
    ">IHH5i", 0, 3, 0, *(round(x * 65536) for x in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@lru_cache(maxsize=8)
def tone_curves(icc: bytes | None, channels: int, top: int) -> npt.NDArray[np.float32] | None:
    """Curves that map the values of a color space to values with the tone curve of sRGB, channel by channel.

    The primaries stay those of the profile. A network trained on sRGB sees the lightness and contrast it knows, and
    since each channel is mapped on its own, the mapping is invertible: a conversion to sRGB would clip colors that are
    outside of it.

    Args:
        channels: 1 for gray, 3 for RGB.
        top: the largest value, 255 or 65535.

    Returns:
        ``(channels, top + 1)``, rising, in [0, 1]; ``None`` if the tone curve is that of sRGB already or the profile is
        damaged. A profile made of tables, not of curves and a matrix, gives the curve of its grays.
    """
    if icc is None:
        return None
    straight = np.linspace(0, 1, top + 1, dtype=np.float32)
    ramp = np.repeat(straight[None, :, None], channels, axis=2)
    try:
        working = _with_srgb_curves(icc, channels)
        curves = _transform(ramp, icc, working, channels, "float32").reshape(top + 1, channels).T
    except (ValueError, struct.error, RuntimeError):  # RuntimeError is imagecodecs' CmsError
        grays = to_srgb(ramp, icc)
        if grays is None:
            return None
        # A small linear part keeps values apart that the table makes equal.
        gray = 0.98 * np.maximum.accumulate(grays[0].mean(axis=-1)).clip(0, 1) + 0.02 * straight
        curves = np.repeat(gray[None], channels, axis=0)
    usable = np.isfinite(curves).all() and (np.diff(curves, axis=1) >= 0).all() and (np.ptp(curves, axis=1) > 0.5).all()
    if not usable or np.abs(curves - straight).max() < 1e-3:
        return None
    return np.ascontiguousarray(curves.clip(0, 1), dtype=np.float32)


def to_srgb(pixels: npt.NDArray[Any], icc: bytes) -> npt.NDArray[Any] | None:
    """Convert ``(H, W, 1 | 3 | 4)`` gray, RGB or CMYK to sRGB of the same dtype, relative colorimetric.

    Returns:
        ``(H, W, 3)``, or ``None`` if the profile is damaged or is for another number of channels.
    """
    if icc[16:20] != _SPACES[pixels.shape[2]]:
        return None
    try:
        return _transform(pixels, icc, srgb_profile(), 3, pixels.dtype.name)
    except (ValueError, RuntimeError):
        return None


@lru_cache(maxsize=8)
def is_srgb(icc: bytes) -> bool:
    """Whether an RGB profile agrees with sRGB to within one step of 8 bits."""
    cube = np.stack(np.meshgrid(*[np.linspace(0, 255, 9)] * 3), axis=-1).round().astype(np.uint8).reshape(27, 27, 3)
    converted = to_srgb(cube, icc)
    return converted is not None and int(np.abs(converted.astype(int) - cube).max()) <= 1


def _transform(pixels: npt.NDArray[Any], icc: bytes, to_icc: bytes, to_channels: int, dtype: str) -> npt.NDArray[Any]:
    return imagecodecs.cms_transform(
        pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels,
        icc,
        to_icc,
        colorspace=icc[16:20].decode().strip().lower(),
        outcolorspace="gray" if to_channels == 1 else "rgb",
        outdtype=dtype,
        intent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _with_srgb_curves(icc: bytes, channels: int) -> bytes:
    """The same profile with the tone curves of sRGB; `ValueError` if it isn't made of curves for ``channels``."""
    tags = _tags(icc)
    curves = _CURVES[channels]
    if icc[16:20] != _SPACES[channels] or not set(curves) <= set(tags) or {b"A2B0", b"A2B1"} & set(tags):
        raise ValueError("not a profile of tone curves")
    kept = {name: tags[name] for name in tags if name[1:] in (b"XYZ", b"tpt", b"had") or name in (b"desc", b"cprt")}
    kept |= dict.fromkeys(curves, _SRGB_CURVE)
    table, data, at = b"", b"", 128 + 4 + 12 * len(kept)
    for name, content in kept.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(data), len(content))
        data += content
    body = icc[4:128] + struct.pack(">I", len(kept)) + table + data
    return struct.pack(">I", 4 + len(body)) + body


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200:
        raise ValueError("an ICC profile with more than 200 tags")
    entries = (struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count))
    return {name: icc[start : start + length] for name, start, length in entries}
