"""Pairs that keep a network as it is, but for faint noise: the last stage of ``photo-x4``.

    python docs/research/photo_pairs.py PHOTOS WEIGHTS PAIRS

Writes ``PAIRS/LR`` and ``PAIRS/HR`` for ``sr train PAIRS/HR --lr-folder PAIRS/LR``: 110 crops of photos, degraded by
``real``, with what the weights make of them as HR; and 60 flat or sloping surfaces with noise of 0.1 to 0.6 levels,
with the bicubic enlargement as HR. A network that was trained with features or against a discriminator turns such
noise into grain.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sr_cli import Upscaler
from sr_cli.data.degradation import degrade, quantize
from sr_cli.imageops.resize import resize
from sr_cli.images import find_images

SCALE, CROP, FLAT = 4, 384, 96


def save(picture: Tensor, path: Path) -> None:
    Image.fromarray((quantize(picture)[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("pairs", type=Path)
    options = parser.parse_args()
    upscaler = Upscaler.from_pretrained(options.weights, color_match="none", dtype="float32")
    lr_folder, hr_folder = options.pairs / "LR", options.pairs / "HR"
    for folder in (lr_folder, hr_folder):
        folder.mkdir(parents=True)
    photos = find_images(options.photos, recursive=True)
    rng = np.random.default_rng(7)
    for i in range(110):
        photo = Image.open(photos[int(rng.integers(len(photos)))]).convert("RGB")
        x, y = int(rng.integers(photo.width - CROP + 1)), int(rng.integers(photo.height - CROP + 1))
        crop = np.array(photo.crop((x, y, x + CROP, y + CROP)))
        hr = torch.from_numpy(crop).permute(2, 0, 1).float()[None] / 255
        lr = quantize(degrade(hr, SCALE, kind="real", rng=rng))
        save(lr, lr_folder / f"photo-{i:03}.png")
        save(upscaler.upscale_tensor(lr), hr_folder / f"photo-{i:03}.png")
    down, across = np.mgrid[:FLAT, :FLAT] - FLAT / 2
    for i in range(60):
        gray, sloping = i % 2 == 1, i % 3 > 0
        level = np.full(3, rng.uniform(0, 255)) if gray else rng.uniform(0, 255, 3)
        slope = rng.normal(0, 0.15, (3, 2)) * sloping
        noise = rng.normal(0, rng.uniform(0.1, 0.6), (1 if gray else 3, FLAT, FLAT))
        surface = level[:, None, None] + slope[:, :1, None] * down + slope[:, 1:, None] * across
        lr = torch.from_numpy((surface + noise).round().clip(0, 255)).float()[None] / 255
        save(lr, lr_folder / f"flat-{i:03}.png")
        save(resize(lr, (SCALE * FLAT, SCALE * FLAT)), hr_folder / f"flat-{i:03}.png")


if __name__ == "__main__":
    main()
