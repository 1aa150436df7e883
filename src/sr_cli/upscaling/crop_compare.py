"""A close look at one place of a result: what was there before, what plain interpolation makes of it, what is now."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from sr_cli import images
from sr_cli.imageops.resize import resize
from sr_cli.images import Picture

Pixels8 = npt.NDArray[np.uint8]

_GAP, _CAPTION = 8, 22  # pixels between the panels of a comparison, and above them


@dataclass
class Closeup:
    """The place of a picture with the most detail, gathered from the result's strips.

    Args:
        picture: the input.
        size: width and height of the result.
        side: of the place, in pixels of the input.
    """

    picture: Picture
    size: tuple[int, int]
    side: int
    _top: int = 0
    _rows: list[Picture] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._place = _most_detailed(self.picture, self.side)
        self.before = Picture(
            color=self.picture.color[self._place].copy(), metadata=self.picture.metadata, format=self.picture.format
        )
        height, width = self.picture.height, self.picture.width
        rows, columns = self._place
        self._result = (
            slice(rows.start * self.size[1] // height, -(-rows.stop * self.size[1] // height)),
            slice(columns.start * self.size[0] // width, -(-columns.stop * self.size[0] // width)),
        )

    def add(self, strip: Picture) -> None:
        """Take what lies in the place out of a strip of the result."""
        rows, columns = self._result
        start, stop = max(0, rows.start - self._top), min(strip.height, rows.stop - self._top)
        self._top += strip.height
        if start < stop:
            self._rows.append(Picture(color=strip.color[start:stop, columns].copy(), metadata=strip.metadata))

    def panels(self) -> dict[str, Pixels8]:
        """The place before, by bicubic interpolation, and now; each ``(h, w, 3)``, all of one size."""
        after = np.concatenate([_shown(part) for part in self._rows])
        before = _shown(self.before)
        lr = torch.from_numpy(before).permute(2, 0, 1)[None].float() / 255
        plain = resize(lr, after.shape[:2]).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        nearest = Image.fromarray(before).resize((after.shape[1], after.shape[0]), Image.Resampling.NEAREST)
        return {"input": np.asarray(nearest), "bicubic": (plain * 255 + 0.5).astype(np.uint8), "result": after}


def side_by_side(panels: dict[str, Pixels8]) -> Image.Image:
    """The panels in a row, with their names above them."""
    height, width, _ = next(iter(panels.values())).shape
    sheet = Image.new("RGB", ((width + _GAP) * len(panels) - _GAP, height + _CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, pixels) in enumerate(panels.items()):
        left = i * (width + _GAP)
        draw.text((left + 2, 4), name, fill="black")
        sheet.paste(Image.fromarray(pixels), (left, _CAPTION))
    return sheet


def _shown(picture: Picture) -> Pixels8:
    values = images.to_tensor(picture)[0].permute(1, 2, 0)
    return (values.numpy() * 255 + 0.5).astype(np.uint8)


def _most_detailed(picture: Picture, side: int) -> tuple[slice, slice]:
    """The square whose values differ most, out of a grid of them; the whole picture if it is no larger."""
    high, wide = min(side, picture.height), min(side, picture.width)
    rows, columns = picture.height // high, picture.width // wide
    variance = np.empty((rows, columns))
    for row in range(rows):
        band = picture.color[row * high : (row + 1) * high, : columns * wide].mean(axis=2, dtype=np.float32)
        variance[row] = band.reshape(high, columns, wide).var(axis=(0, 2))
    best = int(variance.argmax())
    top, left = best // columns * high, best % columns * wide
    return slice(top, top + high), slice(left, left + wide)
