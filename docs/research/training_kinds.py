"""What a short training of each kind does: pairs, a teacher, a discriminator, real degradations, another network.

    python docs/research/training_kinds.py PHOTOS OUTPUT --teacher FILE --loss-weights FILE --steps 400

Five runs of ``sr train``, each from weights that exist. Prints how PSNR on Y of held-out photos went, and what the
weights before and after make of three pictures in the public domain; draws a crop of one of them,
``OUTPUT/kinds.png``: LR enlarged, before, after, and what it was to become.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from skimage import data

SCALE = 4
CROP = (192, 40, 320, 168)  # of the astronaut, in HR pixels

COMMON = (
    *("--batch-size", 4, "--crop-size", 96, "--optimizer", "adam", "--lr", "2e-4", "--schedule", "cosine"),
    *("--warmup", 20, "--ema", 0.98, "--validation-photos", 16),
)


def faded(image: Image.Image) -> Image.Image:
    """A quarter of the size, soft, pale and yellowed, as an old scanner made it."""
    small = image.resize((image.width // SCALE, image.height // SCALE), Image.Resampling.BICUBIC)
    pale = ImageEnhance.Contrast(small.filter(ImageFilter.GaussianBlur(0.4))).enhance(0.6)
    return Image.blend(pale, Image.new("RGB", pale.size, (255, 235, 170)), 0.25)


def reduced(image: Image.Image) -> Image.Image:
    return image.resize((image.width // SCALE, image.height // SCALE), Image.Resampling.BICUBIC)


def sr(*arguments: object) -> str:
    command = [sys.executable, "-m", "sr_cli", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def save_all(images: dict[str, Image.Image], folder: Path, **options: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        image.save(folder / f"{name}.{'jpg' if options else 'png'}", **options)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--loss-weights", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    output, steps = options.output, options.steps

    originals = {name: Image.fromarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea")}
    originals = {k: v.crop((0, 0, v.width // SCALE * SCALE, v.height // SCALE * SCALE)) for k, v in originals.items()}
    hr = save_all(originals, output / "hr")
    clean = save_all({name: reduced(image) for name, image in originals.items()}, output / "clean")
    web = save_all({name: reduced(image) for name, image in originals.items()}, output / "web", quality=50)
    scans = save_all({name: faded(image) for name, image in originals.items()}, output / "scans")
    png = ("--color-match", "none", "--filename", "{stem}.{ext}", "--format", "png", "--overwrite")
    taught = output / "taught"
    sr("upscale", web, "-o", taught, "--model", options.teacher, *png)
    scanned_photos = scan_photos(options.photos, output / "scanned photos")

    kinds: dict[str, tuple[str | Path, Path, Path, list[object]]] = {
        "pairs": ("compact-x4", scans, hr, ["--lr-folder", scanned_photos, "--loss", "pixel"]),
        "teacher": (
            "compact-x4", web, taught,
            ["--degradation", "real", "--teacher", options.teacher, "--loss", "teacher:l1=1,detail=0.5"],
        ),
        "adversarial": (
            "compact-x4", clean, hr,
            ["--loss", "pixel:l1=1,chroma=1+relative:conv2_2=0.03,conv3_3=0.02+checkerboard:rms=4,block=5,pair=8"
             "+adversarial=0.1", "--loss-weights", options.loss_weights, "--discriminator-width", 32,
             "--discriminator-lr", "3e-4", "--adversarial-start", 50],
        ),
        "real": ("compact-x4", web, hr, ["--degradation", "real", "--loss", "pixel"]),
        "third-party": (options.teacher, clean, hr, ["--arch", "third-party", "--loss", "pixel"]),
    }  # fmt: skip
    print("| kind | PSNR of validation | before: PSNR, DSS | after: PSNR, DSS |\n| --- | --- | --- | --- |")
    strips = {}
    for name, (start, lr, target, settings) in kinds.items():
        run = output / "runs" / name
        if not run.exists():
            sr("train", options.photos, "--scale", SCALE, "--init", start, *COMMON, "--steps", steps,
               "--validate-every", steps // 8, *settings, "--runs-dir", run.parent, "--name", name)  # fmt: skip
        curve = " ".join(f"{float(row['psnr']):.2f}" for row in csv.DictReader((run / "validation.csv").open()))
        methods = json.loads(
            sr("evaluate", target, "--lr", lr, "--model", start, "--model", run, "--metrics", "psnr,dss",
               "--color-match", "none", "--json")
        )["methods"]  # fmt: skip
        before, after = (f"{each['mean']['psnr']:.2f}, {each['mean']['dss']:.3f}" for each in methods[1:])
        print(f"| {name} | {curve} | {before} | {after} |", flush=True)
        results = []
        for model in (start, run):
            folder = output / "results" / name / ("after" if model is run else "before")
            sr("upscale", lr, "-o", folder, "--model", model, *png)
            results.append(folder)
        small = next(lr.glob("astronaut.*"))
        enlarged = Image.open(small).resize(originals["astronaut"].size, Image.Resampling.NEAREST)
        others = [Image.open(folder / "astronaut.png") for folder in (*results, target)]
        strips[name] = [image.convert("RGB").crop(CROP) for image in (enlarged, *others)]
    draw(strips).save(output / "kinds.png")


def scan_photos(photos: Path, folder: Path) -> Path:
    if not folder.exists():
        files = [path for path in sorted(photos.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
        for path in files:
            image = Image.open(path).convert("RGB")
            target = folder / path.relative_to(photos).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            faded(image.crop((0, 0, image.width // SCALE * SCALE, image.height // SCALE * SCALE))).save(target)
    return folder


def draw(strips: dict[str, list[Image.Image]]) -> Image.Image:
    """A row for each kind: LR enlarged, before, after, the target."""
    side, top, font = 2 * (CROP[2] - CROP[0]), 18, ImageFont.load_default(13)
    page = Image.new("RGB", (4 * (side + 4), len(strips) * (side + top)), "white")
    for row, (name, images) in enumerate(strips.items()):
        for column, (word, image) in enumerate(zip(("LR", "before", "after", "target"), images, strict=True)):
            x, y = column * (side + 4), row * (side + top)
            ImageDraw.Draw(page).text((x + 2, y + 1), f"{name}: {word}", font=font, fill="black")
            page.paste(image.resize((side, side), Image.Resampling.NEAREST), (x, y + top))
    return page


if __name__ == "__main__":
    main()
