"""Between the file's own values and the sRGB-like ones that networks work on."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sr_cli.images.picture import Picture, Pixels, bands

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def to_tensor(picture: Picture) -> Tensor:
    """The colors as ``(1, 3, H, W)`` float32 in [0, 1], sRGB-like; grey is repeated in three channels."""
    tensor = torch.empty(1, 3, picture.height, picture.width)
    for rows in bands(picture.height, picture.width):
        values = picture.color[rows].astype(np.float32) / np.iinfo(picture.color.dtype).max
        tensor[0, :, rows] = torch.from_numpy(values).permute(2, 0, 1)
    return tensor


def with_color(picture: Picture, color: Pixels | Tensor, alpha: Pixels | Tensor | None) -> Picture:
    """``picture`` with other colors and alpha, converted to its own color space and bit depth.

    Works in bands of rows: besides the result it needs a few megabytes.

    Args:
        color: sRGB-like, ``(1, 3, H, W)`` or ``(3, H, W)`` float in [0, 1], or ``(H, W, 3)`` uint8 or uint16.
        alpha: ``(1, 1, H, W)`` or ``(H, W)`` float in [0, 1], ``(H, W)`` uint8 or uint16, or ``None`` for opaque.
    """
    height, width = color.shape[-2:] if isinstance(color, Tensor) else color.shape[:2]
    own = np.empty((height, width, picture.color.shape[2]), picture.color.dtype)
    own_alpha = None if alpha is None else np.empty((height, width), picture.color.dtype)
    for rows in bands(height, width):
        own[rows] = own_values(picture, _rows(color, rows))
        if own_alpha is not None and alpha is not None:
            own_alpha[rows] = _quantized(_alpha_rows(alpha, rows), own_alpha.dtype)
    return Picture(color=own, alpha=own_alpha, metadata=picture.metadata, format=picture.format)


def own_values(picture: Picture, rows: npt.NDArray[np.float32]) -> Pixels:
    """Some rows of sRGB-like color, ``(h, W, 3)`` in [0, 1], as values of ``picture``'s color space and dtype."""
    if picture.is_grey:
        rows = (rows @ _LUMA)[..., None]
    return _quantized(rows, picture.color.dtype)


def _rows(color: Pixels | Tensor, rows: slice) -> npt.NDArray[np.float32]:
    if isinstance(color, Tensor):
        return color.reshape(3, *color.shape[-2:])[:, rows].permute(1, 2, 0).float().cpu().numpy()
    return color[rows].astype(np.float32) / np.iinfo(color.dtype).max


def _alpha_rows(alpha: Pixels | Tensor, rows: slice) -> npt.NDArray[np.float32]:
    if isinstance(alpha, Tensor):
        return alpha.reshape(alpha.shape[-2:])[rows].float().cpu().numpy()
    return alpha[rows].astype(np.float32) / np.iinfo(alpha.dtype).max


def _quantized(values: npt.NDArray[np.float32], dtype: np.dtype) -> Pixels:
    top = np.iinfo(dtype).max
    return (values.clip(0, 1) * top + 0.5).astype(dtype)
