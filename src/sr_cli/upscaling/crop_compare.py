"""The most detailed part of a picture, as a crop of the input, of its bicubic enlargement, and of the result."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from sr_cli import images
from sr_cli.imageops.resize import resize
from sr_cli.images import Picture

_GAP, _CAPTION = 8, 22  # pixels between the panels, and above them


class CropCompare:
    """Collects the crop from the strips of a result.

    Args:
        size: width and height of the result.
        side: of the crop, in pixels of the input.

    Attributes:
        input: the crop of the input, ``(h, w, 3)`` sRGB, 8 bits, on white.
    """

    def __init__(self, picture: Picture, size: tuple[int, int], side: int) -> None:
        rows, columns = _most_detailed(picture, side)
        self.input = _part(picture, rows, columns)
        self._rows, self._columns = (
            slice(part.start * large // small, -(-part.stop * large // small))
            for part, large, small in ((rows, size[1], picture.height), (columns, size[0], picture.width))
        )
        self._top = 0
        self._parts: list[npt.NDArray[np.uint8]] = []

    def add(self, strip: Picture) -> None:
        """Take the crop's rows out of the next strip of the result."""
        start, stop = max(0, self._rows.start - self._top), min(strip.height, self._rows.stop - self._top)
        self._top += strip.height
        if start < stop:
            self._parts.append(_part(strip, slice(start, stop), self._columns))

    def result(self) -> npt.NDArray[np.uint8]:
        """The crop of the result, like `input`; all strips have been added."""
        return np.concatenate(self._parts)

    def image(self) -> Image.Image:
        """Input, bicubic and result side by side, with captions."""
        result = self.result()
        height, width, _ = result.shape
        lr = torch.from_numpy(self.input).permute(2, 0, 1)[None].float() / 255
        bicubic = resize(lr, (height, width)).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        panels = {
            "input": Image.fromarray(self.input).resize((width, height), Image.Resampling.NEAREST),
            "bicubic": Image.fromarray((bicubic * 255 + 0.5).astype(np.uint8)),
            "result": Image.fromarray(result),
        }
        sheet = Image.new("RGB", ((width + _GAP) * len(panels) - _GAP, height + _CAPTION), "white")
        for i, (name, panel) in enumerate(panels.items()):
            left = i * (width + _GAP)
            ImageDraw.Draw(sheet).text((left + 2, 4), name, fill="black")
            sheet.paste(panel, (left, _CAPTION))
        return sheet


def _part(picture: Picture, rows: slice, columns: slice) -> npt.NDArray[np.uint8]:
    """``(h, w, 3)`` sRGB, 8 bits; transparent pixels are blended onto white."""
    part = Picture(color=picture.color[rows, columns].copy(), metadata=picture.metadata)
    values = images.to_tensor(part)[0].permute(1, 2, 0).numpy()
    if picture.alpha is not None:
        alpha = picture.alpha[rows, columns, None].astype(np.float32) / np.iinfo(picture.alpha.dtype).max
        values = values * alpha + (1 - alpha)
    return (values * 255 + 0.5).astype(np.uint8)


def _most_detailed(picture: Picture, side: int) -> tuple[slice, slice]:
    """The rows and columns of the square with the largest variance, in a grid; the whole picture if it is smaller."""
    high, wide = min(side, picture.height), min(side, picture.width)
    rows, columns = picture.height // high, picture.width // wide
    variance = np.empty((rows, columns))
    for row in range(rows):
        band = picture.color[row * high : (row + 1) * high, : columns * wide].mean(axis=2, dtype=np.float32)
        variance[row] = band.reshape(high, columns, wide).var(axis=(0, 2))
    best = int(variance.argmax())
    top, left = best // columns * high, best % columns * wide
    return slice(top, top + high), slice(left, left + wide)
