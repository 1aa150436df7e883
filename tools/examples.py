"""Make the pictures in ``examples/`` and the before/after pictures in ``docs/images/``.

    python tools/examples.py

The photos come with scikit-image: ``astronaut`` (NASA, public domain), ``coffee`` (Rachel Michetti, CC0) and
``chelsea`` (Stéfan van der Walt, CC0).
"""

import io
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from sr_cli import Upscaler, degrade

ROOT = Path(__file__).parents[1]
PHOTOS = ("astronaut", "coffee", "chelsea")
SCALE = 4
SLIDERS = (
    ("astronaut-bicubic", "clean", "bicubic"),
    ("astronaut-compact-x4", "clean", "compact-x4"),
    ("astronaut-jpeg-compact-x4", "jpeg", "compact-x4"),
    ("astronaut-jpeg-photo-x4", "jpeg", "photo-x4"),
)
"""File, input and model of the pictures behind the sliders."""


def downscale(name: str, scale: int = SCALE) -> Image.Image:
    """The photo at a fraction of its size, by MATLAB's bicubic kernel."""
    pixels = getattr(skimage.data, name)()[..., :3]
    height, width = (length // scale * scale for length in pixels.shape[:2])
    hr = torch.from_numpy(np.ascontiguousarray(pixels[:height, :width])).permute(2, 0, 1)[None].float() / 255
    lr = degrade(hr, scale, kind="bicubic")[0].permute(1, 2, 0)
    return Image.fromarray((lr * 255).round().byte().numpy())


def compress(photo: Image.Image) -> Image.Image:
    """The photo through a JPEG file of quality 75."""
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=75)
    return Image.open(file).convert("RGB")


def upscale(lr: Image.Image, model: str, *, strength: float = 1.0) -> Image.Image:
    """The whole picture, four times larger; ``bicubic`` is a model too."""
    if model == "bicubic":
        return lr.resize((SCALE * lr.width, SCALE * lr.height), Image.Resampling.BICUBIC)
    return Upscaler.from_pretrained(model, strength=strength, dtype="float32").upscale(lr)


def strengths(lr: Image.Image, *, left: int, top: int, side: int) -> Image.Image:
    """A detail of ``lr`` by ``photo-x4`` in five strengths, from 0 to 1."""
    detail = (SCALE * left, SCALE * top, SCALE * (left + side), SCALE * (top + side))
    sheet = Image.new("RGB", (5 * (SCALE * side + 8) - 8, SCALE * side), "white")
    for i in range(5):
        sheet.paste(upscale(lr, "photo-x4", strength=i / 4).crop(detail), (i * (SCALE * side + 8), 0))
    return sheet


def twice_as_large(lr: Image.Image, *, left: int, top: int, side: int) -> Image.Image:
    """A detail of ``lr`` twice as large by bicubic, ``compact-x2``, ``photo-x4`` reduced and ``photo-x2``, shown x4."""
    size = (2 * lr.width, 2 * lr.height)
    results = [lr.resize(size, Image.Resampling.BICUBIC)]
    results += [
        Upscaler(each, dtype="float32").upscale(lr, size=size) for each in ("compact-x2", "photo-x4", "photo-x2")
    ]
    sheet = Image.new("RGB", (4 * (4 * side + 8) - 8, 4 * side), "white")
    for i, result in enumerate(results):
        detail = result.crop((2 * left, 2 * top, 2 * (left + side), 2 * (top + side)))
        sheet.paste(detail.resize((4 * side, 4 * side), Image.Resampling.NEAREST), (i * (4 * side + 8), 0))
    return sheet


def side_by_side(lr: Image.Image, *models: str, left: int, top: int, side: int) -> Image.Image:
    """A detail of ``lr``, enlarged by bicubic interpolation and by each model, each 4 × 2 larger."""
    detail = (left, top, left + side, top + side)
    size = (2 * SCALE * side, 2 * SCALE * side)
    bicubic = lr.crop(detail).resize((SCALE * side, SCALE * side), Image.Resampling.BICUBIC)
    upscaled = [upscale(lr, model).crop(tuple(SCALE * edge for edge in detail)) for model in models]
    sheet = Image.new("RGB", ((1 + len(models)) * (size[0] + 8) - 8, size[1]), "white")
    for i, picture in enumerate([bicubic, *upscaled]):
        sheet.paste(picture.resize(size, Image.Resampling.NEAREST), (i * (size[0] + 8), 0))
    return sheet


def main() -> None:
    (ROOT / "examples").mkdir(exist_ok=True)
    images = ROOT / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        downscale(name).save(ROOT / "examples" / f"{name}.png", optimize=True)
    lr = downscale("astronaut")
    jpeg = compress(lr)
    side_by_side(lr, "compact-x4", left=36, top=8, side=56).save(images / "before-after.png", optimize=True)
    side_by_side(jpeg, "compact-x4", "photo-x4", left=36, top=8, side=56).save(images / "models.png", optimize=True)
    strengths(compress(downscale("chelsea")), left=20, top=10, side=56).save(images / "strength.jpg", quality=92)
    x2 = twice_as_large(compress(downscale("astronaut", 2)), left=70, top=0, side=100)
    x2.save(images / "jpeg-x2.jpg", quality=92)
    for name, picture, model in SLIDERS:
        upscale(jpeg if picture == "jpeg" else lr, model).save(images / f"{name}.jpg", quality=92)


if __name__ == "__main__":
    main()
