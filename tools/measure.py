"""Measure NIQE and the cost of every shipped model, for the cards: ``tools/figures.json``.

    python tools/measure.py PHOTOS

PHOTOS is a folder of photos of half a megapixel and more that no model was trained on: for the figures in the package,
the middle 1024×768 of the six that are held out. Models whose file hasn't changed since keep their figures. Then
``python tools/model_cards.py`` writes the cards.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from sr_cli.system.cpu_tuning import limit_openmp_spin

limit_openmp_spin()  # before torch, as `sr upscale` does

import numpy as np

from sr_cli import Upscaler
from sr_cli.config import EvaluateConfig
from sr_cli.evaluation.cost import multiply_adds
from sr_cli.evaluation.evaluate import evaluate
from sr_cli.images import Picture
from sr_cli.networks.checkpoint import load_network
from sr_cli.weights.checksums import sha256_of
from sr_cli.weights.registry import PRETRAINED

OUTPUT = Path(__file__).with_name("figures.json")
LR_SIZE = (192, 256)
RUNS = 5


def niqe(weights: Path, photos: Path, degradation: str) -> dict[str, float | None]:
    """The means of bicubic interpolation, the model and the photos themselves."""
    config = EvaluateConfig(measures=("niqe",), degradation=degradation)  # type: ignore[arg-type]
    report = evaluate(photos, sr=[photos], models=[weights], config=config)
    rows = zip(("bicubic", "photos", "model"), report.methods, strict=True)
    return {row: report.value(method.name, "niqe") for row, method in rows}


def cpu_seconds(weights: Path) -> float:
    """CPU seconds, of all cores together, for a megapixel of output, by ``sr upscale``'s settings: the best of five."""
    upscaler = Upscaler.from_pretrained(weights)
    picture = Picture(color=np.random.default_rng(0).integers(0, 256, (*LR_SIZE, 3), np.uint8))
    seconds = []
    for _ in range(RUNS):
        began = time.process_time()
        upscaler.upscale_picture(picture)
        seconds.append(time.process_time() - began)
    return min(seconds) / (LR_SIZE[0] * LR_SIZE[1] * upscaler.scale**2) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    photos = parser.parse_args().photos
    old = json.loads(OUTPUT.read_text("utf-8")) if OUTPUT.exists() else {}
    found: dict[str, Any] = {}
    for path in sorted(PRETRAINED.glob("*.safetensors")):
        digest = sha256_of(path)
        found[path.stem] = old.get(path.stem)
        if not found[path.stem] or found[path.stem]["sha256"] != digest:
            network, header = load_network(path)
            found[path.stem] = {
                "sha256": digest,
                "niqe": niqe(path, photos, header["training"]["degradation"]),
                "multiply_adds": multiply_adds(network, scale=network.scale),
                "cpu_seconds": cpu_seconds(path),
            }
        print(path.stem, found[path.stem], flush=True)
        OUTPUT.write_text(json.dumps({**old, **found}, indent=2) + "\n", "utf-8")
    OUTPUT.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
