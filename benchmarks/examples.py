"""Make the pictures in ``examples/`` and the README's before and after.

    python benchmarks/examples.py

The photographs come with scikit-image: ``astronaut`` (NASA, public domain), ``coffee`` (Rachel Michetti, CC0) and
``chelsea`` (Stéfan van der Walt, CC0).
"""

from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from sr_cli import Upscaler, degrade

ROOT = Path(__file__).parents[1]
PHOTOS = ("astronaut", "coffee", "chelsea")
SCALE = 4


def reduced(name: str) -> Image.Image:
    """The photo at a quarter of its size, as MATLAB's bicubic makes it."""
    pixels = getattr(skimage.data, name)()[..., :3]
    height, width = (length // SCALE * SCALE for length in pixels.shape[:2])
    hr = torch.from_numpy(np.ascontiguousarray(pixels[:height, :width])).permute(2, 0, 1)[None].float() / 255
    lr = degrade(hr, SCALE, kind="bicubic")[0].permute(1, 2, 0)
    return Image.fromarray((lr * 255).round().byte().numpy())


def before_and_after(lr: Image.Image, model: str, *, left: int, top: int, side: int) -> Image.Image:
    """A detail of ``lr``, enlarged by bicubic interpolation and by ``model``, side by side, each 4 × 2 larger."""
    detail = (left, top, left + side, top + side)
    size = (2 * SCALE * side, 2 * SCALE * side)
    bicubic = lr.crop(detail).resize((SCALE * side, SCALE * side), Image.Resampling.BICUBIC)
    sr = Upscaler.from_pretrained(model).upscale(lr).crop(tuple(SCALE * edge for edge in detail))
    sheet = Image.new("RGB", (2 * size[0] + 8, size[1]), "white")
    for x, picture in ((0, bicubic), (size[0] + 8, sr)):
        sheet.paste(picture.resize(size, Image.Resampling.NEAREST), (x, 0))
    return sheet


def main() -> None:
    (ROOT / "examples").mkdir(exist_ok=True)
    (ROOT / "docs" / "images").mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        reduced(name).save(ROOT / "examples" / f"{name}.png", optimize=True)
    detail = before_and_after(reduced("astronaut"), "compact-x4", left=36, top=8, side=56)
    detail.save(ROOT / "docs" / "images" / "before-after.png", optimize=True)


if __name__ == "__main__":
    main()
