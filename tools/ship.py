"""Put a run's weights into the package: half precision, with texts and measured figures in the header.

    python tools/ship.py runs/compact-x4/model.safetensors compact-x4 --benchmarks FOLDER

FOLDER holds ``NAME/HR`` and, for x4, ``NAME/LRbicx4`` for each of the test sets. The texts come from
``tools/cards.toml``. Then ``python tools/model_cards.py`` writes ``docs/models/``.
"""

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import tomllib
import torch

from sr_cli.config import EvaluateConfig
from sr_cli.evaluation.evaluate import evaluate
from sr_cli.networks.checkpoint import load_network, save_network
from sr_cli.weights.registry import PRETRAINED

CARDS = Path(__file__).with_name("cards.toml")
SETS = ("Set5", "Set14", "BSD100")
MEASURES = ("psnr", "ssim", "dss", "haarpsi", "color_shift", "sharpness", "checkerboard")


def figures(weights: Path, benchmarks: Path, degradation: str, measures: tuple[str, ...]) -> dict[str, Any]:
    """Means of the measures over each test set, for the weights and for bicubic interpolation."""
    found: dict[str, Any] = {}
    for name in SETS:
        lr = benchmarks / name / "LRbicx4"
        given = lr if degradation == "bicubic" and lr.is_dir() and load_network(weights)[0].scale == 4 else None
        config = EvaluateConfig(measures=measures, degradation="bicubic" if given else degradation)  # type: ignore[arg-type]
        report = evaluate(benchmarks / name / "HR", lr=given, models=[weights], config=config)
        found[name] = {
            kind: {measure: report.value(method.name, measure) for measure in report.measures}
            for kind, method in (("bicubic", report.methods[0]), ("model", report.methods[-1]))
        }
        print(name, found[name], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("name")
    parser.add_argument("--benchmarks", type=Path, required=True)
    parser.add_argument("--measures", default=",".join(MEASURES))
    options = parser.parse_args()

    network, header = load_network(options.weights)
    cards = tomllib.loads(CARDS.read_text(encoding="utf-8"))
    card = cards["defaults"] | cards[options.name]
    dtype = getattr(torch, card.pop("dtype", "float16"))
    # The run's own "init" is a file on the trainer's disk; the card names the shipped model instead, if there is one.
    dropped = ("format", "version", "architecture", "init", "licence")
    about = {key: value for key, value in header.items() if key not in dropped} | card
    about["command"] = re.sub(r"(?<=\s)/(\S*/)?", "", about["command"])  # paths of the trainer's machine
    if teacher := about["training"].get("teacher"):
        about["training"]["teacher"] = Path(teacher).name
    with tempfile.TemporaryDirectory() as folder:
        half = Path(folder) / "half.safetensors"
        as_shipped = {"color_match": card["color_match"]} if "color_match" in card else {}
        save_network(half, network, about=as_shipped, dtype=dtype)
        about["metrics"] = figures(
            half, options.benchmarks, about["training"]["degradation"], tuple(options.measures.split(","))
        )
    path = PRETRAINED / f"{options.name}.safetensors"
    save_network(path, network, about=about, dtype=dtype)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
