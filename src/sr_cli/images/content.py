"""What kind of picture a file holds, by measures that an eye can check; `sr upscale` chooses its model by it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from sr_cli.images.codecs.jpeg import quality_of
from sr_cli.images.formats import FORMATS
from sr_cli.images.picture import Picture, to_8_bit

Kind = Literal["clean", "photo", "drawing", "text"]

_SIDE = 768  # of the part in the middle that is measured
_BLOCK = 8  # pixels
# Between what the pictures of docs/research/auto-model.md have.
_FLAT = 0.4
_TWO_TONES = 0.8
_STROKES = 4.8  # letters of up to 28 pixels have more, line art has fewer
_NOISE = 6.0


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of a picture.

    Attributes:
        lossy: its file format if that usually compresses with loss, such as JPEG.
        quality: of a JPEG file, 1 to 100, by its luminance table.
        noise: standard deviation of the noise in 8-bit values, in the most even blocks of the picture.
        flatness: share of the pixels that equal both their right and their lower neighbor.
        two_tones: share of the pixels that are gray and within a sixteenth of the darkest or brightest value.
        strokes: how many begin along 100 pixels of a row, on average over the rows that have any.
        colors: how many different ones there are.
    """

    lossy: str | None = None
    quality: int | None = None
    noise: float
    flatness: float
    two_tones: float
    strokes: float
    colors: int


def measure(picture: Picture, path: Path | None = None) -> Measures:
    """Measure a picture; ``path`` is its file, for the JPEG quality."""
    top, left = (max(0, (side - _SIDE) // 2) for side in picture.color.shape[:2])
    part = to_8_bit(picture.color[top : top + _SIDE, left : left + _SIDE]).astype(np.int16)
    same = np.ones(part.shape[:2], bool)
    same[:, :-1] &= (part[:, 1:] == part[:, :-1]).all(axis=-1)
    same[:-1] &= (part[1:] == part[:-1]).all(axis=-1)
    dark, bright = int(part.min()), int(part.max())
    near = max(1, (bright - dark) // 16)
    low, high = part.min(axis=-1), part.max(axis=-1)
    gray = high - low <= near
    packed = part.astype(np.uint32) @ (1 << 8 * np.arange(part.shape[-1], dtype=np.uint32))
    format = FORMATS.get(picture.format)  # none for the codec of a video
    return Measures(
        lossy=picture.format if format is None or format.quality is not None else None,
        quality=jpeg_quality(path) if path and picture.format == "JPEG" else None,
        noise=_noise(part.mean(axis=-1)),
        flatness=float(same.mean()),
        two_tones=float((gray & ((high <= dark + near) | (low >= bright - near))).mean()),
        strokes=_strokes(part.mean(axis=-1) < (dark + bright) / 2),
        colors=len(np.unique(packed)),
    )


def classify(measures: Measures) -> tuple[Kind, str]:
    """The kind of a picture, and why in a few words.

    What a lossy format leaves matters more than what the picture shows, so it counts first.
    """
    if measures.lossy:
        return "photo", f"{measures.lossy}" + (f" of quality {measures.quality}" if measures.quality else "")
    if measures.colors == 2:
        return "drawing", "2 colors"
    if measures.two_tones > _TWO_TONES and measures.colors > 2:
        kind: Kind = "text" if measures.strokes > _STROKES else "drawing"
        return kind, f"{measures.two_tones:.0%} black or white" + ", few strokes" * (kind == "drawing")
    if measures.flatness > _FLAT and measures.colors > 2:
        return "drawing", f"{measures.flatness:.0%} flat"
    if measures.noise > _NOISE:
        return "photo", "noisy"
    return "clean", "lossless, little noise"


def _strokes(is_dark: npt.NDArray[np.bool_]) -> float:
    ink = is_dark if is_dark.mean() <= 0.5 else ~is_dark
    rows = ink[ink.any(axis=1)]
    return float(100 * (rows[:, 1:] & ~rows[:, :-1]).sum(axis=1).mean() / ink.shape[1]) if len(rows) else 0.0


def jpeg_quality(path: Path) -> int | None:
    """The quality that a JPEG file was saved with, see `quality_of`; ``None`` for other files."""
    with suppress(OSError), Image.open(path) as image:
        return quality_of(image)
    return None


def _noise(luma: npt.NDArray[np.float64]) -> float:
    """Noise in the most even blocks, where there is no texture to mistake for it.

    Source: Immerkær 1996, Fast Noise Variance Estimation; the fifth percentile over blocks is ours.
    """
    height, width = (side // _BLOCK * _BLOCK for side in (luma.shape[0] - 2, luma.shape[1] - 2))
    if min(height, width) < _BLOCK:
        return 0.0
    rows = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    mask = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])[:height, :width]
    blocks = mask.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).mean(axis=(1, 3))
    return float(np.percentile(blocks, 5) * np.sqrt(np.pi / 2) / 6)
