"""Between the file's own values and the sRGB-like ones that networks work on, a band of rows at a time."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sr_cli.images.picture import Picture, Pixels, bands
from sr_cli.images.profiles import tone_curves

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_FINE = 1 << 16


def to_tensor(picture: Picture) -> Tensor:
    """The colors as ``(1, 3, H, W)`` float32 in [0, 1], with the tone curve of sRGB; grey is repeated three times."""
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
    height, width = color.shape[-2:] if isinstance(color, Tensor) else color.shape[:2]
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
    dtype = picture.color.dtype
    top = np.iinfo(dtype).max
    curves = tone_curves(picture.metadata.icc, color.shape[2], top)
    if curves is None:
        return quantized(color, dtype)
    inverse = [_inverse_table(curve) for curve in curves] if top == 255 else None
    own = np.empty(color.shape, dtype)
    for channel, curve in enumerate(curves):
        values = color[..., channel]
        if inverse is not None:
            own[..., channel] = inverse[channel][quantized(values, np.dtype(np.uint16))]
        else:
            own[..., channel] = np.interp(values, curve, np.arange(top + 1)) + 0.5
    return own


def quantized(values: npt.NDArray[np.float32], dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> Pixels:
    """Values in [0, 1] (clipped to it) as the nearest integers of ``dtype``'s full range."""
    top = np.float32(np.iinfo(dtype).max)
    return (values.clip(0, 1) * top + np.float32(0.5)).astype(dtype)  # type: ignore[no-any-return]


def _inverse_table(curve: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """For each 16-bit step of sRGB-like value the 8-bit value whose ``curve`` is nearest to it."""
    fine = np.linspace(0, 1, _FINE)
    return (np.interp(fine, curve, np.arange(256)) + 0.5).astype(np.uint8)


def _color_rows(color: Pixels | Tensor, rows: slice) -> npt.NDArray[np.float32]:
    if isinstance(color, Tensor):
        return color.reshape(3, *color.shape[-2:])[:, rows].permute(1, 2, 0).float().cpu().numpy()
    values: npt.NDArray[np.float32] = np.asarray(color[rows], np.float32) / np.float32(np.iinfo(color.dtype).max)
    return values


def _alpha_rows(alpha: Pixels | Tensor, rows: slice) -> npt.NDArray[np.float32]:
    if isinstance(alpha, Tensor):
        return alpha.reshape(alpha.shape[-2:])[rows].float().cpu().numpy()
    values: npt.NDArray[np.float32] = np.asarray(alpha[rows], np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    return values
