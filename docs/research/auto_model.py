"""Which model suits which picture, and does `--model auto` choose it? Prints a table of 40 pictures in Markdown.

    python docs/research/auto_model.py BENCHMARKS

BENCHMARKS has ``Set14/HR`` and ``BSD100/HR``. Each picture is reduced four times and saved as its row says, then
upscaled by both models. PSNR is on Y, DSS is in [0, 1], both against the original.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from sr_cli import Upscaler
from sr_cli.config import MODEL_FOR
from sr_cli.images import read
from sr_cli.images.content import classify, measure
from sr_cli.metrics.fidelity import psnr
from sr_cli.metrics.perceptual import dss

WORDS = "Whatever is worth doing at all is worth doing well. Letters to his son, 1746"


def photos(folder: Path) -> list[Image.Image]:
    files = [*sorted((folder / "Set14/HR").iterdir())[1:13], *sorted((folder / "BSD100/HR").iterdir())[:14]]
    return [Image.open(file).convert("RGB") for file in files]


def drawing(seed: int) -> Image.Image:
    """Lines, circles and areas of few colors, without antialiasing at LR."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (480, 320), tuple(rng.integers(180, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (int(value) for value in rng.integers([0, 0, 40, 30], [400, 260, 160, 120]))
        color = tuple(rng.integers(0, 256, 3).tolist())
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(
            (x, y, x + w, y + h), fill=color, outline="black", width=4
        )
        draw.line((x, y, int(rng.integers(480)), int(rng.integers(320))), fill="black", width=4)
    return image


def page(seed: int) -> Image.Image:
    image = Image.new("RGB", (640, 320), "white")
    draw = ImageDraw.Draw(image)
    for line in range(5):
        draw.text((16, 12 + 60 * line), WORDS[line + seed :][:28], font=ImageFont.load_default(40), fill="black")
    return image


def pictures(folder: Path) -> list[tuple[str, Image.Image, str, dict[str, object], float]]:
    """Name, HR, suffix, options of Pillow's ``save``, and noise in 8-bit values."""
    hr = photos(folder)
    rows: list[tuple[str, Image.Image, str, dict[str, object], float]] = []
    rows += [("photo", each, ".png", {}, 0) for each in hr[:10]]
    rows += [("JPEG", hr[10 + i], ".jpg", {"quality": 95 - 7 * i}, 0) for i in range(8)]
    rows += [("thumbnail, WebP", hr[18 + i], ".webp", {"quality": 75}, 0) for i in range(4)]
    rows += [("noisy photo", hr[22 + i], ".png", {}, 14) for i in range(4)]
    rows += [("drawing", drawing(i), (".png", ".jpg")[i % 2], {}, 0) for i in range(7)]
    rows += [("text", page(i), (".png", ".jpg")[i % 2], {}, 0) for i in range(7)]
    return rows


def main() -> None:
    models = {name: Upscaler.from_pretrained(name, dtype="float32") for name in ("compact-x4", "photo-x4")}
    rng = np.random.default_rng(0)
    print("| picture | measured | chosen | compact-x4 | photo-x4 |\n| --- | --- | --- | --- | --- |")
    right = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, image, suffix, options, noise in pictures(Path(sys.argv[1])):
            width, height = (side // 4 for side in image.size)
            hr = image.crop((0, 0, 4 * width, 4 * height))
            # Drawings and text are made at LR by the nearest pixel, as a program would draw them.
            flat = name in ("drawing", "text")
            small = hr.resize((width, height), Image.Resampling.BOX if flat else Image.Resampling.BICUBIC)
            values = np.asarray(small) + noise * rng.standard_normal((height, width, 3))
            file = Path(temporary, f"lr{suffix}")
            Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8)).save(file, **options)
            picture = read(file)
            kind, reason = classify(measure(picture, file))
            cells, scores = [], {}
            for model, upscaler in models.items():
                large = upscaler.upscale_picture(picture).color
                a, b = (_tensor(each) for each in (large, np.asarray(hr)))
                scores[model] = float(dss(a, b, shave=4))
                cells.append(f"{float(psnr(a, b, shave=4)):.2f} dB, {scores[model]:.3f}")
            right += MODEL_FOR[kind] == max(scores, key=lambda each: scores[each])
            quality = f" {options['quality']}" if suffix == ".jpg" and options else ""
            print(f"| {name}{quality} ({suffix[1:]}) | {reason} | {kind}: {MODEL_FOR[kind]} | {' | '.join(cells)} |")
    print(f"\nThe model with the higher DSS was chosen for {right} of 40.")


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(rgb))[None].float() / 255


if __name__ == "__main__":
    main()
