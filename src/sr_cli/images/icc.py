"""ICC profiles: tone curves and conversion to sRGB, computed by Little CMS."""

import struct
from dataclasses import replace
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import ImageCms

from sr_cli.images.picture import Picture

_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
_CURVES = {1: (b"kTRC",), 3: (b"rTRC", b"gTRC", b"bTRC")}

# By the code points of ITU-T H.273: x and y of white, red, green and blue; exponents, 0 for the curve of sRGB.
_PRIMARIES = {
    1: (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # BT.709
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_GAMMAS = {4: 2.2, 8: 1.0, 13: 0.0}
_SRGB_GAMA = 45_455  # how a gAMA chunk says sRGB

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


def in_srgb(picture: Picture) -> Picture:
    """The picture in sRGB, without a profile; as it is, if its profile is damaged. Gray stays gray."""
    icc = picture.metadata.icc
    if icc is None:
        return picture
    converted = None if picture.color.shape[2] == 3 and is_srgb(icc) else to_srgb(picture.color, icc)
    color = picture.color if converted is None else converted[..., : picture.color.shape[2]]
    return replace(picture, color=np.ascontiguousarray(color), metadata=replace(picture.metadata, icc=None))


def is_output_profile(icc: bytes) -> bool:
    """Whether colors can be converted to the profile, not only from it."""
    try:
        return bool({b"kTRC", b"rTRC", b"B2A0", b"B2A1"} & set(_tags(icc)))
    except (ValueError, struct.error):
        return False


def profile_of_png(chunks: dict[bytes, bytes], channels: int) -> bytes | None:
    """The profile that a PNG's chunks cICP, or gAMA and cHRM, stand for; ``None`` for sRGB and what isn't known.

    Source: https://www.w3.org/TR/png-3/#11addnlcolinfo; the code points of cICP are those of ITU-T H.273.
    """
    try:
        if b"cICP" in chunks:
            primaries, transfer = chunks[b"cICP"][:2]
            corners, gamma = _PRIMARIES.get(primaries), _GAMMAS.get(transfer)
            return None if corners is None or gamma is None else _made_profile(channels, corners, gamma)
        if b"sRGB" in chunks or not {b"gAMA", b"cHRM"} & set(chunks):
            return None
        (stored,) = struct.unpack(">I", chunks.get(b"gAMA", struct.pack(">I", _SRGB_GAMA)))
        gamma = 0.0 if abs(stored - _SRGB_GAMA) < 500 else 100_000 / stored
        corners = _PRIMARIES[1]
        if b"cHRM" in chunks:
            corners = tuple(value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"]))
        return _made_profile(channels, corners, gamma) if gamma < 10 else None
    except (ValueError, RuntimeError, ZeroDivisionError, struct.error):
        return None


@lru_cache(maxsize=8)
def _made_profile(channels: int, corners: tuple[float, ...], gamma: float) -> bytes | None:
    """A profile of white, red, green and blue (x, y) and a gamma, 0 for the curve of sRGB; ``None`` for sRGB itself."""
    if channels == 1:
        return _dated(imagecodecs.cms_profile("gray", whitepoint=(*corners[:2], 1.0), gamma=gamma)) if gamma else None
    white, colors = (*corners[:2], 1.0), [value for at in (2, 4, 6) for value in (*corners[at : at + 2], 1.0)]
    profile = bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=colors, gamma=gamma or 2.2))
    profile = _dated(profile if gamma else _with_srgb_curves(profile, 3))
    return None if is_srgb(profile) else profile


def _dated(profile: bytes) -> bytes:
    """The profile without the time of its making, so that equal pictures give equal files."""
    return profile[:24] + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + profile[36:]


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
