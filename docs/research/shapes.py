"""Which shape of ``compact``, and which optimizer, learns most for the same arithmetic?

    python docs/research/shapes.py PHOTOS 48x8 64x12 48x16 --optimizers adam muon

Runs short trainings with the same number of floating-point operations each, and prints their steps, their time and the
PSNR on Y over 16 held-out photos.
"""

import argparse
import dataclasses
import itertools
import tempfile
import time
from pathlib import Path

import torch

from sr_cli.config import recipe
from sr_cli.data import Photos
from sr_cli.networks.registry import build
from sr_cli.training.loop import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("shapes", nargs="+", help="WIDTHxDEPTH")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--optimizers", nargs="+", default=["muon"], choices=["adam", "muon"])
    parser.add_argument("--lr", type=float, default=recipe("compact").lr)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--teraflop", type=float, default=14.0, help="arithmetic of each training")
    options = parser.parse_args()

    crop_size = 32 * options.scale
    photos = Photos.below(options.photos, min_side=crop_size, cache_bytes=4 << 30)
    print(f"{'shape':>8} {'optimizer':>9} {'parameters':>10} {'steps':>6} {'seconds':>8} {'PSNR':>7}")
    for shape, optimizer in itertools.product(options.shapes, options.optimizers):
        width, depth = map(int, shape.split("x"))
        parameters = sum(
            p.numel() for p in build(name="compact", scale=options.scale, width=width, depth=depth).parameters()
        )
        # Forward and both gradients: 6 operations for every parameter and LR pixel.
        steps = round(
            options.teraflop * 1e12 / (6 * parameters * options.batch_size * (crop_size // options.scale) ** 2)
        )
        config = dataclasses.replace(
            recipe("compact"),
            scale=options.scale, width=width, depth=depth, crop_size=crop_size, batch_size=options.batch_size,
            optimizer=optimizer, lr=options.lr, precision=options.precision, epochs=None, steps=steps,
            warmup=30, ema=0.99, validation_photos=16, validate_every=10**9,
        )  # fmt: skip
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as run:
            *_, last = train(config, photos, torch.device("cpu"), run=Path(run))
        seconds = time.perf_counter() - began
        print(
            f"{shape:>8} {optimizer:>9} {parameters:>10,} {steps:>6} {seconds:>8.0f} {last.validation['psnr']:>7.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
