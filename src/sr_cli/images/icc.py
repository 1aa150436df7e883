"""ICC profiles: tone curves and conversion to sRGB, computed by Little CMS."""

import struct
from dataclasses import replace
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import ImageCms

from sr_cli.images.picture import HLG, PQ, Picture

_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
_CURVES = {1: (b"kTRC",), 3: (b"rTRC", b"gTRC", b"bTRC")}

# By the code points of ITU-T H.273: x and y of white, red, green and blue; exponents, 0 for the curve of sRGB.
_PRIMARIES = {
    1: (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # BT.709
    2: (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # not specified
    5: (0.3127, 0.3290, 0.640, 0.330, 0.290, 0.600, 0.150, 0.060),  # BT.601 with 625 lines
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601 with 525 lines
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.3140, 0.3510, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI P3
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
# Pictures whose transfer isn't specified, or is that of television, are shown like sRGB.
_GAMMAS = {**dict.fromkeys((1, 2, 6, 13, 14, 15), 0.0), 4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_ADOBE_RGB = (0.3127, 0.3290, 0.640, 0.330, 0.210, 0.710, 0.150, 0.060)
_SRGB_GAMA = 45_455  # how a gAMA chunk says sRGB

# The sRGB curve of IEC 61966-2-1 as a parametricCurveType, function type 3.
_SRGB_CURVE = b"para" + struct.pack(
    ">IHH5i", 0, 3, 0, *(round(x * 65536) for x in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def adobe_rgb_profile() -> bytes | None:
    """A profile of Adobe RGB (1998), which EXIF can name without one."""
    return _made_profile(3, _ADOBE_RGB, 563 / 256)


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
    """The picture in sRGB, without a profile; as it is, if its profile is damaged. Gray stays gray.

    HDR becomes SDR: diffuse white is white, and all that is brighter, too.
    """
    channels = picture.color.shape[2]
    metadata = picture.metadata
    icc = _hdr_profile(channels, *metadata.cicp) if metadata.is_hdr and metadata.cicp else metadata.icc
    if icc is None:
        return picture
    converted = None if channels == 3 and is_srgb(icc) else to_srgb(picture.color, icc)
    color = picture.color if converted is None else converted[..., :channels]
    texts = tuple(chunk for chunk in metadata.png_chunks if chunk[0].endswith(b"Xt"))
    metadata = replace(metadata, icc=None, cicp=None, png_chunks=texts)
    return replace(picture, color=np.ascontiguousarray(color), metadata=metadata)


def is_output_profile(icc: bytes) -> bool:
    """Whether colors can be converted to the profile, not only from it."""
    try:
        return bool({b"kTRC", b"rTRC", b"B2A0", b"B2A1"} & set(_tags(icc)))
    except (ValueError, struct.error):
        return False


def described_by_cicp(cicp: tuple[int, int], channels: int) -> dict[str, Any]:
    """What `Metadata` says of code points of ITU-T H.273; nothing for sRGB, and for what isn't known."""
    primaries, transfer = cicp
    if transfer in (PQ, HLG):
        return {"cicp": cicp, "icc": None}
    corners, gamma = _PRIMARIES.get(primaries), _GAMMAS.get(transfer)
    icc = None if corners is None or gamma is None else _made_profile(channels, corners, gamma)
    return {"cicp": cicp, "icc": icc} if icc else {}


def described_by_png(chunks: dict[bytes, bytes], channels: int) -> dict[str, Any]:
    """What `Metadata` says of a PNG's chunks cICP, or gAMA and cHRM; nothing for sRGB, and for what isn't known.

    Source: https://www.w3.org/TR/png-3/#11addnlcolinfo
    """
    try:
        if b"cICP" in chunks:
            primaries, transfer = chunks[b"cICP"][:2]
            return described_by_cicp((primaries, transfer), channels)
        if b"sRGB" in chunks or not {b"gAMA", b"cHRM"} & set(chunks):
            return {}
        (stored,) = struct.unpack(">I", chunks.get(b"gAMA", struct.pack(">I", _SRGB_GAMA)))
        gamma = 0.0 if abs(stored - _SRGB_GAMA) < 500 else 100_000 / stored
        corners = _PRIMARIES[1]
        if b"cHRM" in chunks:
            corners = tuple(value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"]))
        icc = _made_profile(channels, corners, gamma) if gamma < 10 else None
        return {"icc": icc} if icc else {}
    except (ValueError, RuntimeError, ZeroDivisionError, struct.error):
        return {}


@lru_cache(maxsize=8)
def _made_profile(channels: int, corners: tuple[float, ...], gamma: float) -> bytes | None:
    """A profile of white, red, green and blue (x, y) and a gamma, 0 for the curve of sRGB; ``None`` for sRGB itself."""
    if channels == 1:
        return _dated(imagecodecs.cms_profile("gray", whitepoint=(*corners[:2], 1.0), gamma=gamma)) if gamma else None
    white, colors = (*corners[:2], 1.0), [value for at in (2, 4, 6) for value in (*corners[at : at + 2], 1.0)]
    profile = bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=colors, gamma=gamma or 2.2))
    profile = _dated(profile if gamma else _with_srgb_curves(profile, 3))
    return None if is_srgb(profile) else profile


@lru_cache(maxsize=8)
def _hdr_profile(channels: int, primaries: int, transfer: int) -> bytes:
    """A profile that takes HDR for SDR: diffuse white, 203 cd/m² (ITU-R BT.2408), is its brightest value.

    The curves are those of ITU-R BT.2100; of HLG at a peak of 1,000 cd/m², with the system gamma on each channel.
    """
    value = np.linspace(0, 1, 4096)
    if transfer == PQ:
        power = value ** (1 / 78.84375)
        light = 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    else:
        scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = 1_000 * scene**1.2
    curve = (65535 * (light / 203).clip(0, 1) + 0.5).astype(np.uint16)
    corners = _PRIMARIES.get(primaries, _PRIMARIES[9])
    colors = [value for at in (2, 4, 6) for value in (*corners[at : at + 2], 1.0)]
    space: dict[str, Any] = {"whitepoint": (*corners[:2], 1.0), "transferfunction": curve}
    space |= {} if channels == 1 else {"primaries": colors}
    return bytes(imagecodecs.cms_profile("gray" if channels == 1 else "rgb", **space))


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
