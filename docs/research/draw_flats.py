"""Draw smooth pictures to train on: shading, soft edges and discs, so that faint noise stays faint.

python docs/research/draw_flats.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

COUNT, SIDE = 48, 512


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    for i in range(COUNT):
        base = rng.uniform(10, 245, 3) if i % 3 else np.full(3, rng.uniform(10, 245))
        slope = rng.normal(0, 60, (2, 1, 1)) * (i % 4 > 0)
        image = base[:, None, None] + (slope[0] * y + slope[1] * x)[None] * rng.uniform(0.5, 1.2, (3, 1, 1))
        for _ in range(int(rng.integers(0, 5)) if i % 2 else 0):
            center_y, center_x = rng.uniform(-0.5, 0.5, 2)
            radius = rng.uniform(0.05, 0.3)
            distance = (np.hypot(y - center_y, x - center_x) - radius) * SIDE
            inside = 1 / (1 + np.exp(distance / rng.uniform(0.7, 20)))
            image = image * (1 - inside) + rng.uniform(0, 255, 3)[:, None, None] * inside
        dithered = np.clip(image + rng.uniform(-0.5, 0.5, image.shape), 0, 255).round().astype(np.uint8)
        Image.fromarray(dithered.transpose(1, 2, 0)).save(folder / f"flat-{i:02}.png")


if __name__ == "__main__":
    main()
