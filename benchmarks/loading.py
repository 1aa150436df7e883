"""What making a pair costs, and what share of a training's work that is, in CPU seconds (all threads, user and system).

    python benchmarks/loading.py PHOTOS [--arch compact] [--precision float32] [--steps 6]

The photos are decoded before, as from the second epoch on. CPU seconds hardly depend on what else the machine does, but
busy neighbors inflate them by up to two times; the shares stay.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from sr_cli.config import Degradation, recipe
from sr_cli.data import Photos
from sr_cli.training.loop import configure_process, make_batches
from sr_cli.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--arch", default="compact")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs="*", default=get_args(Degradation), choices=get_args(Degradation))
    options = parser.parse_args()

    config = replace(recipe(options.arch), precision=options.precision, epochs=None, steps=100)
    configure_process(config)
    photos = Photos.below(options.photos, min_side=config.crop_size, cache_bytes=4 << 30)
    trainer = Trainer(config, torch.device("cpu"))
    print(f"{config.arch} x{config.scale}, {config.batch_size} pairs of {config.crop_size}² a step, {config.precision}")
    print(f"{'degradation':12}{'ms a pair':>11}{'s a step':>10}{'share':>8}")
    for degradation in options.only:
        batches = make_batches(replace(config, degradation=degradation), photos)
        for step in range(options.steps):
            batches.pairs_of(step)
        loading = training = 0.0
        for step in range(options.steps):
            began = time.process_time()
            batch = batches[step]
            loaded = time.process_time()
            trainer.learn(batch)
            trainer.update(1e-4)
            loading, training = loading + loaded - began, training + time.process_time() - loaded
        pair, share = loading / options.steps / config.batch_size, loading / (loading + training)
        print(
            f"{degradation:12}{1000 * pair:11.1f}{(loading + training) / options.steps:10.2f}{share:8.1%}", flush=True
        )


if __name__ == "__main__":
    main()
