"""Conversion between a file's own color values and the sRGB-like values that networks process."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sr_cli.imageops.color import FULL_RANGE_LUMA
from sr_cli.images.icc import tone_curves
from sr_cli.images.picture import Picture, Pixels, bands

if TYPE_CHECKING:  # torch takes a second to import, and finding or reading files needs none
    from torch import Tensor

_LUMA = np.array(FULL_RANGE_LUMA, dtype=np.float32)
_FINE = (1 << 20) - 1  # so fine that even at gamma 2.6 the two darkest of 256 values stay apart


def to_tensor(picture: Picture) -> Tensor:
    """The colors as ``(1, 3, H, W)`` float32 in [0, 1], with the tone curve of sRGB; gray is repeated three times."""
    import torch

    top = np.iinfo(picture.color.dtype).max
    curves = tone_curves(picture.metadata.icc, picture.color.shape[2], top)
    tensor = torch.empty(1, 3, picture.height, picture.width)
    for rows in bands(picture.height, picture.width):
        stored = picture.color[rows]
        if curves is None:
            values = stored.astype(np.float32) / np.float32(top)
        else:
            values = np.stack([curve[stored[..., channel]] for channel, curve in enumerate(curves)], axis=-1)
        tensor[0, :, rows] = torch.from_numpy(values).permute(2, 0, 1)
    return tensor


def encode_color(picture: Picture, color: npt.NDArray[np.float32]) -> Pixels:
    """Convert sRGB-like color to ``picture``'s color space and dtype: the inverse of `to_tensor`.

    Args:
        color: ``(h, W, 3)``, clipped to [0, 1].

    Returns:
        ``(h, W, 1)`` for a gray picture, else ``(h, W, 3)``.
    """
    if picture.is_gray:
        color = (color @ _LUMA)[..., None]
    icc, dtype, channels = picture.metadata.icc, picture.color.dtype, picture.color.shape[2]
    top = np.iinfo(dtype).max
    curves = tone_curves(icc, channels, int(top))
    encoded: Pixels = np.empty(color.shape, dtype)
    if curves is None:
        encoded[:] = color.clip(0, 1) * np.float32(top) + np.float32(0.5)
    elif dtype == np.uint8:
        steps = (color.clip(0, 1) * np.float32(_FINE) + np.float32(0.5)).astype(np.int32)
        for channel, table in enumerate(_inverse_tables(icc, channels)):
            encoded[..., channel] = table[steps[..., channel]]
    else:
        for channel, curve in enumerate(curves):
            encoded[..., channel] = np.interp(color[..., channel], curve, np.arange(len(curve))) + 0.5
    return encoded


@lru_cache(maxsize=8)
def _inverse_tables(icc: bytes | None, channels: int) -> list[npt.NDArray[np.uint8]]:
    """For each channel, the nearest 8-bit value for each of the sRGB-like values 0 … 1 in `_FINE` steps."""
    curves = tone_curves(icc, channels, 255)
    fine = np.linspace(0, 1, _FINE + 1)
    return [
        (np.interp(fine, curve, np.arange(256)) + 0.5).astype(np.uint8) for curve in ([] if curves is None else curves)
    ]
