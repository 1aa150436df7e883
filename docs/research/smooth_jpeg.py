"""What is `--smooth-jpeg` worth? Prints a table in Markdown, and draws a strip.

    python docs/research/smooth_jpeg.py docs/images/smooth-jpeg.jpg

scikit-image's astronaut (public domain), coffee and chelsea (CC0) are reduced four times, saved as JPEG and upscaled by
`photo-x4`. PSNR is on Y, HaarPSI and DSS are in [0, 1], against the original; of the JPEG file itself, PSNR is on RGB.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from sr_cli import Upscaler
from sr_cli.images import read
from sr_cli.metrics.fidelity import psnr
from sr_cli.metrics.perceptual import dss, haarpsi

QUALITIES = (20, 30, 40, 50, 60, 75, 90)
SHOWN = 40
FACE = (150, 10, 330, 190)  # of the astronaut


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255


def decoded(path: Path, smooth: bool) -> torch.Tensor:
    color = read(path, smooth_jpeg=100 * smooth).color
    return torch.from_numpy(np.array(color)).permute(2, 0, 1)[None] / 255


def main() -> None:
    upscalers = [Upscaler("photo-x4", smooth_jpeg=each) for each in (0, 100)]
    strip = []
    print("| quality | file, dB | PSNR, dB | HaarPSI | DSS |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for quality in QUALITIES:
            rows = []
            for name in ("astronaut", "coffee", "chelsea"):
                photo = Image.fromarray(getattr(skimage.data, name)())
                photo = photo.crop((0, 0, photo.width // 4 * 4, photo.height // 4 * 4))
                lr = photo.resize((photo.width // 4, photo.height // 4), Image.Resampling.BICUBIC)
                path, hr = Path(folder, f"{name}.jpg"), tensor(photo)
                lr.save(path, quality=quality)
                for index, upscaler in enumerate(upscalers):
                    large = upscaler.upscale(path)
                    sr = tensor(large)
                    file = psnr(decoded(path, bool(index)), tensor(lr), shave=0, channel="rgb")
                    rows.append([float(file), *(float(each(sr, hr, shave=4)) for each in (psnr, haarpsi, dss))])
                    if quality == SHOWN and name == "astronaut":
                        strip += [Image.open(path).resize(photo.size, Image.Resampling.NEAREST)] * (not strip)
                        strip.append(large)
            plain, smooth = (np.mean(rows[start::2], axis=0) for start in (0, 1))
            pairs = zip(plain, smooth, (2, 2, 3, 3), strict=True)
            cells = [f"{before:.{digits}f} → {after:.{digits}f}" for before, after, digits in pairs]
            print(f"| {quality} | {' | '.join(cells)} |")
    side = 2 * (FACE[2] - FACE[0])
    sheet = Image.new("RGB", (3 * side + 16, side), "white")
    for index, image in enumerate(strip):
        part = image.convert("RGB").crop(FACE).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(part, (index * (side + 8), 0))
    sheet.save(sys.argv[1], quality=92)


if __name__ == "__main__":
    main()
