"""Repeat the experiment of the Bordeaux report: train its four networks, measure them, draw its figures.

    python docs/research/reproduction.py --photos photos800 --loss-weights VGG16.safetensors --benchmarks FOLDER

The four networks (x4 and x8, feature loss without and with pixel loss) are trained twice: to the letter of the report
(`literal-…`) and by the recipe of the shipped weights (`johnson-…`, which begin with a few minutes on pixels,
`start-…`). `penalized-x4` continues from `johnson-x4` with our checkerboard penalty. Every training is a `sr train`
command, printed before it runs; complete runs are not repeated, and interrupted ones continue. FOLDER holds ``NAME/HR``
for each test set. ``--only train``, ``measure`` or ``draw`` does a part; ``--names`` picks runs. Tables are printed as
Markdown, pictures go to ``docs/research/images/``.
"""

import argparse
import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw, ImageFont

from sr_cli import Upscaler, degrade

PICTURES = Path(__file__).with_name("images")
SETS = ("Set5", "Set14", "BSD100")
MEASURES = ("psnr", "ssim", "dss", "haarpsi", "color_shift", "sharpness", "checkerboard")

LITERAL = (
    "--arch johnson --initialization random --batch-norm batch --output-lr 1 --epochs 5 --precision bfloat16 "
    "--validate-every 245"
)
MUON = "--arch johnson --optimizer muon --batch-norm frozen --output-lr 0.1 --schedule cosine --warmup 50 --ema 0.99"
START = f"{MUON} --loss pixel --lr 3e-3 --crop-size 144 --steps 1200 --precision bfloat16 --validate-every 400"
OURS = f"{MUON} --epochs 5 --precision bfloat16 --validate-every 245"
FEATURES = "feature:conv1_1=0.3,relu2_2=1"
MORE_COLOR = "feature:conv1_1=1,relu2_2=1"  # without a pixel term, at x4, colors need it
PIXELS = "+pixel:l2=100"

RECIPES = {
    "literal-x4": f"{LITERAL} --scale 4 --loss johnson",
    "literal-x4-pixel": f"{LITERAL} --scale 4 --loss johnson+pixel",
    "literal-x8": f"{LITERAL} --scale 8 --loss johnson",
    "literal-x8-pixel": f"{LITERAL} --scale 8 --loss johnson+pixel",
    "start-x4": f"{START} --scale 4",
    "start-x8": f"{START} --scale 8",
    "johnson-x4": f"{OURS} --scale 4 --init start-x4 --loss {MORE_COLOR}",
    "johnson-x4-pixel": f"{OURS} --scale 4 --init start-x4 --loss {FEATURES}{PIXELS}",
    "johnson-x8": f"{OURS} --scale 8 --init start-x8 --loss {FEATURES}",
    "johnson-x8-pixel": f"{OURS} --scale 8 --init start-x8 --loss {FEATURES}{PIXELS}",
    "penalized-x4": f"{MUON} --steps 250 --precision bfloat16 --validate-every 125 --scale 4 --init johnson-x4 "
    f"--loss {MORE_COLOR}+checkerboard:rms=30",
}
"""``sr train`` for each run; ``--init`` names another run."""

FIGURES = {
    "figure-4": [["johnson-x4"], ["literal-x4"]],
    "figure-5": [["johnson-x4", "johnson-x4-pixel"], ["literal-x4", "literal-x4-pixel"]],
    "figure-6": [["johnson-x4", "johnson-x8"], ["literal-x4", "literal-x8"]],
    "figure-7": [["johnson-x4-pixel", "johnson-x8-pixel"], ["literal-x4-pixel", "literal-x8-pixel"]],
}
"""The report's figure, and for each of its rows the runs side by side; LR comes before them, HR after."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--loss-weights", type=Path)
    parser.add_argument("--benchmarks", type=Path)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--names", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--compile", action="store_true", help="train by torch.compile: faster, needs a C++ compiler")
    parser.add_argument("--only", choices=["train", "measure", "draw"], help="by default all")
    options = parser.parse_args()
    if options.only in (None, "train"):
        for name in options.names:
            train(name, options.photos, options.loss_weights, options.runs_dir, options.compile)
    if options.only in (None, "measure"):
        for scale in (4, 8):
            measure([n for n in options.names if f"-x{scale}" in n], scale, options.benchmarks, options.runs_dir)
        costs(options.names, options.runs_dir)
    if options.only in (None, "draw"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        draw(options.runs_dir)


def train(name: str, photos: Path, loss_weights: Path, runs: Path, compiled: bool) -> None:
    """Train a run, or continue it."""
    run = runs / name
    if (run / "config.json").exists():
        command = ["train", "--resume", str(run)]
    else:
        recipe = shlex.split(RECIPES[name])
        if "--init" in recipe:
            at = recipe.index("--init") + 1
            recipe[at] = str(weights(recipe[at], runs))
        command = ["train", str(photos), *recipe, "--loss-weights", str(loss_weights), "--runs-dir", str(runs)]
        command += ["--name", name, *(["--compile"] if compiled else [])]
    print("$ sr", shlex.join(command), flush=True)
    subprocess.run([sys.executable, "-m", "sr_cli", *command], check=True)


def weights(name: str, runs: Path) -> Path:
    return runs / name / "model.safetensors"


def measure(names: Sequence[str], scale: int, benchmarks: Path, runs: Path) -> None:
    """Print a table: each run, and bicubic interpolation, on LR made as in the report."""
    print(f"\n| x{scale} | set | {' | '.join(MEASURES)} |\n| {' | '.join('---' for _ in range(len(MEASURES) + 2))} |")
    for test_set in SETS:
        command = ["evaluate", str(benchmarks / test_set / "HR"), "--degradation", "paper", "--scale", str(scale)]
        command += ["--color-match", "none", "--metrics", ",".join(MEASURES), "--json"]
        for name in names:
            command += ["--model", str(weights(name, runs))]
        done = subprocess.run([sys.executable, "-m", "sr_cli", *command], check=True, capture_output=True, text=True)
        for method in json.loads(done.stdout)["methods"]:
            means = method["mean"]
            numbers = (
                f"{means[m]:.{2 if m in ('psnr', 'color_shift', 'sharpness', 'checkerboard') else 4}f}"
                for m in MEASURES
            )
            print(f"| {method['name'].removesuffix('/model')} | {test_set} | {' | '.join(numbers)} |", flush=True)


def costs(names: Sequence[str], runs: Path) -> None:
    """Print what section 5 of the report shows: memory and power before and during each training."""
    print("\n| run | steps | minutes | memory before, during (peak) | power before, during | energy |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        energy = json.loads((runs / name / "energy.json").read_text())
        with (runs / name / "metrics.csv").open(encoding="utf-8", newline="") as file:
            steps = [row["step"] for row in csv.DictReader(file)][-1]

        def told(value: float | None, unit: str, by: float = 1) -> str:
            return "unavailable" if value is None else f"{value / by:.0f} {unit}"

        memory = f"{told(energy['idle_memory'], 'MiB', 2**20)}, {told(energy['peak_memory'], 'MiB', 2**20)}"
        power = f"{told(energy['idle_watts'], 'W')}, {told(energy['mean_watts'], 'W')}"
        minutes = f"{energy['seconds'] / 60:.1f}"
        print(f"| {name} | {steps} | {minutes} | {memory} | {power} | {told(energy['watt_hours'], 'Wh')} |")


Cell = tuple[Image.Image, str]


def draw(runs: Path) -> None:
    """The report's figures 3 to 7, from photos that come with scikit-image, and the checkerboard."""
    photos = {name: photograph(name) for name in ("astronaut", "coffee", "chelsea")}
    pairs = [
        cell for name, hr in photos.items() for cell in ((enlarged(reduced(hr, 4), 4), f"{name}, LR x4"), (hr, "HR"))
    ]
    grid([pairs]).save(PICTURES / "figure-3.jpg", quality=90)
    for figure, rows in FIGURES.items():
        cells = [row(hr, names, runs) for hr in list(photos.values())[:2] for names in rows]
        grid(cells).save(PICTURES / f"{figure}.jpg", quality=90)
    closer = [[(closeup(picture), name) for picture, name in row(hr, ("johnson-x4", "penalized-x4"), runs)]
              for hr in list(photos.values())[:2]]  # fmt: skip
    grid(closer).save(PICTURES / "checkerboard.jpg", quality=95)


def row(hr: Image.Image, names: Sequence[str], runs: Path) -> list[Cell]:
    """LR, what each run makes of it, HR."""
    scales = [8 if "-x8" in name else 4 for name in names]
    cells = [(enlarged(reduced(hr, scale), scale), f"LR x{scale}") for scale in dict.fromkeys(scales)]
    for name, scale in zip(names, scales, strict=True):
        upscaler = Upscaler.from_pretrained(weights(name, runs), dtype="float32", color_match="none")
        cells.append((upscaler.upscale(reduced(hr, scale)), name))
    return [*cells, (hr, "HR")]


def photograph(name: str, side: int = 256) -> Image.Image:
    """A square of the photo: ``astronaut`` (NASA, public domain), ``coffee`` and ``chelsea`` (CC0)."""
    pixels = getattr(skimage.data, name)()[..., :3]
    left = (pixels.shape[1] - side) // 2
    return Image.fromarray(np.ascontiguousarray(pixels[:side, left : left + side]))


def reduced(hr: Image.Image, scale: int) -> Image.Image:
    """LR as in the report: blurred by sigma 1.0, then downscaled by the bicubic kernel."""
    image = torch.from_numpy(np.array(hr)).permute(2, 0, 1)[None].float() / 255
    lr = degrade(image, scale, kind="paper")[0].permute(1, 2, 0)
    return Image.fromarray((lr * 255).round().byte().numpy())


def closeup(picture: Image.Image, *, left: int = 96, top: int = 40, side: int = 85) -> Image.Image:
    """A detail of the picture, three times as large."""
    return enlarged(picture.crop((left, top, left + side, top + side)), 3)


def enlarged(lr: Image.Image, scale: int) -> Image.Image:
    """The picture with its pixels as squares."""
    return lr.resize((lr.width * scale, lr.height * scale), Image.Resampling.NEAREST)


def grid(rows: Sequence[Sequence[Cell]], *, gap: int = 8, line: int = 20) -> Image.Image:
    """Pictures of one size in rows, a caption below each."""
    width, height = rows[0][0][0].size
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * (width + gap) - gap, len(rows) * (height + line)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for y, cells in enumerate(rows):
        for x, (picture, caption) in enumerate(cells):
            place = (x * (width + gap), y * (height + line))
            sheet.paste(picture, place)
            pen.text((place[0], place[1] + height + 2), caption, fill="black", font=font)
    return sheet


if __name__ == "__main__":
    main()
