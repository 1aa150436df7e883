"""Between the file's own values and the sRGB-like ones that networks work on, a band of rows at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sr_cli.imageops.color import FULL_RANGE_LUMA
from sr_cli.images.icc import tone_curves
from sr_cli.images.picture import Picture, Pixels, bands

if TYPE_CHECKING:  # torch takes a second to import, and who only looks for files or reads them needs none
    from torch import Tensor

_LUMA = np.array(FULL_RANGE_LUMA, dtype=np.float32)
_FINE = (1 << 20) - 1  # so fine that even at gamma 2.6 the darkest two of 256 values stay apart


def to_tensor(picture: Picture) -> Tensor:
    """The colors as ``(1, 3, H, W)`` float32 in [0, 1], with the tone curve of sRGB; grey is repeated three times."""
    import torch

    top = np.iinfo(picture.color.dtype).max
    curves = tone_curves(picture.metadata.icc, picture.color.shape[2], top)
    tensor = torch.empty(1, 3, picture.height, picture.width)
    for rows in bands(picture.height, picture.width):
        own = picture.color[rows]
        if curves is None:
            values = own.astype(np.float32) / np.float32(top)
        else:
            values = np.stack([curve[own[..., channel]] for channel, curve in enumerate(curves)], axis=-1)
        tensor[0, :, rows] = torch.from_numpy(values).permute(2, 0, 1)
    return tensor


def with_color(picture: Picture, color: Pixels | Tensor, alpha: Pixels | Tensor | None) -> Picture:
    """``picture`` with other colors and alpha, converted to its own color space and bit depth.

    Besides the result this needs a few megabytes, whatever the size.

    Args:
        color: sRGB-like, ``(1, 3, H, W)`` or ``(3, H, W)`` float in [0, 1], or ``(H, W, 3)`` uint8 or uint16.
        alpha: ``(1, 1, H, W)`` or ``(H, W)`` float in [0, 1], ``(H, W)`` uint8 or uint16, or ``None`` for no alpha.
    """
    height, width = color.shape[:2] if isinstance(color, np.ndarray) else color.shape[-2:]
    own: Pixels = np.empty((height, width, picture.color.shape[2]), picture.color.dtype)
    own_alpha: Pixels | None = None if alpha is None else np.empty((height, width), picture.color.dtype)
    for rows in bands(height, width):
        own[rows] = own_values(picture, _color_rows(color, rows))
        if alpha is not None and own_alpha is not None:
            own_alpha[rows] = quantized(_alpha_rows(alpha, rows), own_alpha.dtype)
    return replace(picture, color=own, alpha=own_alpha)


def own_values(picture: Picture, color: npt.NDArray[np.float32]) -> Pixels:
    """Some rows of sRGB-like color as values in ``picture``'s color space and dtype: the inverse of `to_tensor`.

    Args:
        color: ``(h, W, 3)`` in [0, 1].

    Returns:
        ``(h, W, 1)`` for a grey picture, else ``(h, W, 3)``.
    """
    if picture.is_grey:
        color = (color @ _LUMA)[..., None]
    icc, dtype, channels = picture.metadata.icc, picture.color.dtype, picture.color.shape[2]
    curves = tone_curves(icc, channels, int(np.iinfo(dtype).max))
    if curves is None:
        return quantized(color, dtype)
    own: Pixels = np.empty(color.shape, dtype)
    if dtype == np.uint8:
        steps = (color.clip(0, 1) * np.float32(_FINE) + np.float32(0.5)).astype(np.int32)
        for channel, table in enumerate(_inverse_tables(icc, channels)):
            own[..., channel] = table[steps[..., channel]]
    else:
        for channel, curve in enumerate(curves):
            own[..., channel] = np.interp(color[..., channel], curve, np.arange(len(curve))) + 0.5
    return own


def quantized(values: npt.NDArray[np.float32], dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> Pixels:
    """Values in [0, 1] (clipped to it) as the nearest integers of ``dtype``'s full range."""
    top = np.float32(np.iinfo(dtype).max)
    return (values.clip(0, 1) * top + np.float32(0.5)).astype(dtype)  # type: ignore[no-any-return]


@lru_cache(maxsize=8)
def _inverse_tables(icc: bytes | None, channels: int) -> list[npt.NDArray[np.uint8]]:
    """For each channel the 8-bit value nearest to each of the steps from 0 to `_FINE` of sRGB-like value."""
    curves = tone_curves(icc, channels, 255)
    fine = np.linspace(0, 1, _FINE + 1)
    return [
        (np.interp(fine, curve, np.arange(256)) + 0.5).astype(np.uint8) for curve in ([] if curves is None else curves)
    ]


def _color_rows(color: Pixels | Tensor, rows: slice) -> npt.NDArray[np.float32]:
    if isinstance(color, np.ndarray):
        values: npt.NDArray[np.float32] = np.asarray(color[rows], np.float32) / np.float32(np.iinfo(color.dtype).max)
        return values
    return color.reshape(3, *color.shape[-2:])[:, rows].permute(1, 2, 0).float().cpu().numpy()


def _alpha_rows(alpha: Pixels | Tensor, rows: slice) -> npt.NDArray[np.float32]:
    if isinstance(alpha, np.ndarray):
        values: npt.NDArray[np.float32] = np.asarray(alpha[rows], np.float32) / np.float32(np.iinfo(alpha.dtype).max)
        return values
    return alpha.reshape(alpha.shape[-2:])[rows].float().cpu().numpy()
