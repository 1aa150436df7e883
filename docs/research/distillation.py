"""Does a teacher pay? A small ``compact`` with and without one, after the same CPU time.

    python docs/research/distillation.py PHOTOS --teacher compact-x4

Trains from the same random weights on the same pairs, until each training has taken ``--cpu-seconds`` of all cores
together, the teacher's share included. Prints the steps that this was enough for, and the PSNR on Y over 16 held-out
photos, against HR and against the teacher.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from sr_cli.config import TrainConfig, recipe
from sr_cli.data import Pair, Photos, validation_pairs
from sr_cli.metrics import psnr
from sr_cli.networks.base import Network
from sr_cli.networks.checkpoint import load_network
from sr_cli.training.loop import train
from sr_cli.training.state import Stop
from sr_cli.training.teacher import Teacher
from sr_cli.training.validation import super_resolve

CPU = torch.device("cpu")
LOSSES = ("pixel:l1=1", "pixel:l1=0.5+teacher:l1=0.5", "teacher:l1=1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--shape", default="32x4", help="WIDTHxDEPTH")
    parser.add_argument("--degradation", default="bicubic")
    parser.add_argument("--cpu-seconds", type=float, default=120)
    options = parser.parse_args()

    width, depth = map(int, options.shape.split("x"))
    plain = dataclasses.replace(
        recipe("compact"),
        width=width, depth=depth, crop_size=128, batch_size=8, min_downscale=1.0, degradation=options.degradation,
        epochs=None, steps=10**9, warmup=30, schedule="constant", ema=0.99, clip=None, validation_photos=16,
        validate_every=10**9,
    )  # fmt: skip
    photos = Photos.below(options.photos, min_side=plain.crop_size, cache_bytes=4 << 30)
    held_out = list(validation_pairs(photos.split(16, seed=plain.seed)[1], scale=4, degradation=plain.degradation))
    teacher = Teacher.load(dataclasses.replace(plain, teacher=options.teacher), CPU)
    assert teacher is not None
    taught = [teacher(pair.lr[None]) for pair in held_out]
    hr = [pair.hr[None] for pair in held_out]
    print(f"the teacher against HR: {_psnr(taught, hr):.2f} dB")
    print(f"{'loss':30}{'steps':>7}{'CPU s':>7}{'HR':>8}{'teacher':>9}")
    for loss in LOSSES:
        config = dataclasses.replace(plain, loss=loss, teacher=options.teacher if "teacher" in loss else None)
        steps, seconds, network = _train(config, photos, options.cpu_seconds)
        sr = _results(network, held_out)
        print(f"{loss:30}{steps:>7}{seconds:>7.0f}{_psnr(sr, hr):>8.2f}{_psnr(sr, taught):>9.2f}", flush=True)


def _train(config: TrainConfig, photos: Photos, budget: float) -> tuple[int, float, Network]:
    """Steps, CPU seconds, and the moving average of the weights."""
    stop = Stop()
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        steps = 0
        for step in train(config, photos, CPU, run=Path(folder) / "run", stop=stop):
            steps, stop.wanted = step.step, time.process_time() - began > budget
        network, _ = load_network(Path(folder) / "run/model.safetensors")
    return steps, time.process_time() - began, network


def _results(network: Network, pairs: Sequence[Pair]) -> list[Tensor]:
    return [super_resolve(network, pair.lr, CPU) for pair in pairs]


def _psnr(sr: Sequence[Tensor], target: Sequence[Tensor]) -> float:
    return fmean(float(psnr(a, b, shave=4)) for a, b in zip(sr, target, strict=True))


if __name__ == "__main__":
    main()
