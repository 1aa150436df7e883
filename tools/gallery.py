"""Draw the gallery of the models for photos: ``docs/models/gallery.md`` and its pictures in ``docs/images/gallery/``.

    python tools/gallery.py [--general realesr-general-x4v3.safetensors] [--only NAME]

All pictures are in the public domain or under CC0: those that come with scikit-image, and one that is drawn here. For
each, a detail of the input is enlarged by repeating pixels, by bicubic interpolation, by the photo-x4 of version 0.1
(out of git), by photo-x4, and by Real-ESRGAN's small network if its file is given.
"""

import argparse
import io
import subprocess
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from sr_cli import Upscaler
from sr_cli.weights.registry import PRETRAINED

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "models" / "gallery.md"
IMAGES = ROOT / "docs" / "images" / "gallery"
OLD = "7ba6d70:src/sr_cli/pretrained/photo-x4.safetensors"
SCALE = 4
SIDE = 64
"""Side of the detail, in pixels of the input."""

GAP, LABEL = 4, 20
MAX_BYTES = 100_000

ASTRONAUT = "NASA, public domain"
CC0_TEXTURES = "CC0Textures, CC0"


@dataclass(frozen=True)
class Exhibit:
    """One strip.

    Attributes:
        made: how the input was made, for people.
        source: who made the picture, and its license.
        picture: makes the input, RGB.
        corner: left and top of the detail, in pixels of the input.
    """

    name: str
    title: str
    made: str
    source: str
    picture: Callable[[], Image.Image]
    corner: tuple[int, int]


def sample(name: str, *, reduce: float = 1) -> Image.Image:
    """A picture that comes with scikit-image, reduced by Pillow's bicubic kernel."""
    picture = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
    size = (round(picture.width / reduce), round(picture.height / reduce))
    return picture if reduce == 1 else picture.resize(size, Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """The picture through a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def grain(picture: Image.Image, deviation: float) -> Image.Image:
    """The picture with normal noise, the same in all channels."""
    noise = np.random.default_rng(0).normal(0, deviation, (picture.height, picture.width, 1))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).round().astype(np.uint8))


def thumbnail() -> Image.Image:
    """What websites make of a photo: means of squares, sharpened, a small JPEG file."""
    small = sample("coffee").reduce(3).filter(ImageFilter.UnsharpMask(1, 80, 0))
    return jpeg(small, 60)


def scan() -> Image.Image:
    """An old print through a scanner: faded, yellowed, grainy."""
    faded = ImageOps.grayscale(sample("camera", reduce=3)).point(lambda level: 40 + 0.7 * level)
    print_ = ImageOps.colorize(faded, black="#20150a", white="#f2e2bd")
    return jpeg(grain(print_.filter(ImageFilter.GaussianBlur(0.5)), 5), 80)


def night() -> Image.Image:
    """A dark, noisy picture."""
    return jpeg(grain(sample("hubble_deep_field", reduce=2), 4), 85)


def screenshot() -> Image.Image:
    """A small window with a title, text and a button, drawn without antialiasing of its edges."""
    window = Image.new("RGB", (160, 100), "#dfe3e8")
    draw = ImageDraw.Draw(window)
    draw.rectangle((6, 6, 153, 93), fill="white", outline="#8a9099")
    draw.rectangle((7, 7, 152, 21), fill="#2f6db5")
    draw.text((11, 8), "Settings", fill="white", font=ImageFont.load_default(11))
    for row, line in enumerate(("Model: photo-x4", "Scale: 4", "Output: large.png")):
        draw.text((13, 27 + 14 * row), line, fill="#1b1c1e", font=ImageFont.load_default(10))
    draw.rectangle((13, 73, 62, 88), fill="#e9edf2", outline="#8a9099")
    draw.text((22, 75), "Upscale", fill="#1b1c1e", font=ImageFont.load_default(9))
    return window


EXHIBITS = (
    Exhibit("portrait", "Portrait", "reduced to a quarter", f"Eileen Collins, {ASTRONAUT}",
            lambda: sample("astronaut", reduce=4), (36, 2)),
    Exhibit("portrait-jpeg", "Portrait, compressed", "reduced to a third, JPEG of quality 60", f"the same, {ASTRONAUT}",
            lambda: jpeg(sample("astronaut", reduce=3), 60), (46, 4)),
    Exhibit("fur", "Fur", "reduced to a half", "Chelsea, Stéfan van der Walt, CC0",
            lambda: sample("chelsea", reduce=2), (52, 28)),
    Exhibit("grass", "Foliage", "reduced to a third", "grass, linolafett, CC0",
            lambda: sample("grass", reduce=3), (40, 50)),
    Exhibit("brick", "Brick", "reduced to a quarter", CC0_TEXTURES, lambda: sample("brick", reduce=4), (30, 30)),
    Exhibit("gravel", "Stones", "reduced to a quarter", CC0_TEXTURES, lambda: sample("gravel", reduce=4), (30, 30)),
    Exhibit("handwriting", "Handwriting", "reduced to a half", "Wikipedia, public domain",
            lambda: sample("text", reduce=2), (80, 2)),
    Exhibit("screenshot", "Screenshot", "drawn by `tools/gallery.py`", "this project", screenshot, (4, 4)),
    Exhibit("sky", "Sky", "reduced to a half, JPEG of quality 75", "launch of DSCOVR, SpaceX, public domain",
            lambda: jpeg(sample("rocket", reduce=2), 75), (130, 60)),
    Exhibit("night", "Night sky", "reduced to a half, noise, JPEG of quality 85", "Hubble, NASA, public domain",
            night, (300, 150)),
    Exhibit("scan", "Old print, scanned", "reduced to a third, faded, grain, JPEG of quality 80",
            "camera, Lav Varshney, CC0", scan, (50, 15)),
    Exhibit("thumbnail", "Thumbnail from the web", "means of 3×3 pixels, sharpened, JPEG of quality 60",
            "coffee, Rachel Michetti, CC0", thumbnail, (60, 30)),
)  # fmt: skip


def old_weights(folder: Path) -> Path:
    """The photo-x4 of version 0.1, out of git."""
    path = folder / "photo-x4-0.1.safetensors"
    path.write_bytes(subprocess.run(["git", "-C", ROOT, "show", OLD], check=True, capture_output=True).stdout)
    return path


def strip(exhibit: Exhibit, models: dict[str, Upscaler]) -> Image.Image:
    """The detail in all versions side by side, each with its label."""
    lr = exhibit.picture()
    left, top = exhibit.corner
    detail = (left, top, left + SIDE, top + SIDE)
    if detail[2] > lr.width or detail[3] > lr.height:
        raise ValueError(f"{exhibit.name}: the detail is not inside {lr.size}")
    size, large = (SCALE * SIDE, SCALE * SIDE), (SCALE * lr.width, SCALE * lr.height)
    edges = tuple(SCALE * edge for edge in detail)
    versions = {
        "input": lr.crop(detail).resize(size, Image.Resampling.NEAREST),
        "bicubic": lr.resize(large, Image.Resampling.BICUBIC).crop(edges),
        **{name: model.upscale(lr).crop(edges) for name, model in models.items()},
    }
    sheet = Image.new("RGB", (len(versions) * (size[0] + GAP) - GAP, size[1] + LABEL), "white")
    for index, (name, version) in enumerate(versions.items()):
        sheet.paste(version, (index * (size[0] + GAP), LABEL))
        ImageDraw.Draw(sheet).text(
            (index * (size[0] + GAP) + 2, 1), name, fill="#1b1c1e", font=ImageFont.load_default(14)
        )
    return sheet


def save(sheet: Image.Image, path: Path) -> None:
    """As WebP, at the best quality that stays below `MAX_BYTES`."""
    for quality in range(94, 50, -4):
        sheet.save(path, quality=quality, method=6)
        if path.stat().st_size <= MAX_BYTES:
            return
    raise ValueError(f"{path}: still above {MAX_BYTES} bytes")


def page(columns: list[str]) -> str:
    """The page with all strips."""
    parts = [
        "# Gallery",
        "*Generated by `python tools/gallery.py`.*",
        f"Twelve details of {SIDE}×{SIDE} pixels, four times larger. From left to right: {', '.join(columns)}.",
    ]
    if "general-x4v3" in columns:
        parts.append(
            "`general-x4v3` is Real-ESRGAN's small network, which desktop programs run as their fast choice; `sr "
            "upscale --model realesr-general-x4v3.safetensors` runs it."
        )
    parts.append(
        "Most inputs were reduced before, so much of what the original showed is not in them. `photo-x4` was trained "
        "on none of these pictures."
    )
    for exhibit in EXHIBITS:
        parts += [
            f"## {exhibit.title}",
            f"![{exhibit.title}: {', '.join(columns)}](../images/gallery/{exhibit.name}.webp)",
            f"*Input: {exhibit.made}. Picture: {exhibit.source}.*",
        ]
    return "\n\n".join(textwrap.fill(part, 118, break_on_hyphens=False) for part in parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--general", type=Path, metavar="FILE", help="Real-ESRGAN's small network")
    parser.add_argument("--only", metavar="NAME", help="draw one strip, and leave the page as it is")
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        old, new = old_weights(Path(folder)), PRETRAINED / "photo-x4.safetensors"
        files = {} if old.read_bytes() == new.read_bytes() else {"photo-x4 of 0.1": old}
        files |= {"photo-x4": new} | ({"general-x4v3": options.general} if options.general else {})
        models = {name: Upscaler.from_pretrained(path, dtype="float32") for name, path in files.items()}
    for exhibit in EXHIBITS:
        if options.only in (None, exhibit.name):
            path = IMAGES / f"{exhibit.name}.webp"
            save(strip(exhibit, models), path)
            print(path, path.stat().st_size)
    if not options.only:
        PAGE.write_text(page(["input", "bicubic", *models]), encoding="utf-8")


if __name__ == "__main__":
    main()
