"""Upscale a folder of small pictures with `sr upscale`, and compare with the network's share of the time.

    python benchmarks/batch.py                    # 200 pictures of 128 × 128
    python benchmarks/batch.py --count 50 --side 64

The network is also timed in a process that does nothing else: no files, no colors, no encoding.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sr_cli.system.cpu_tuning import limit_openmp_spin

limit_openmp_spin()  # before torch, as `sr upscale` does

import torch

from commands import make_pictures
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.upscaling.upscaler import Upscaler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="compact-x4", help="a name, or a file of weights")
    parser.add_argument("--count", type=int, default=200, help="of pictures (200)")
    parser.add_argument("--side", type=int, default=128, help="of a picture, in pixels (128)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder) / "in", arguments.count, arguments.side)
        command = [sys.executable, "-m", "sr_cli", "upscale", f"{folder}/in", "-o", f"{folder}/out", "--json"]
        began = time.perf_counter()
        done = subprocess.run([*command, "--model", arguments.model], stdout=subprocess.PIPE, text=True, check=True)
        whole = time.perf_counter() - began
    summary = json.loads(done.stdout.splitlines()[-1])
    network = network_seconds(arguments.model, arguments.side, min(arguments.count, 40))
    each = summary["seconds"] / arguments.count
    print(f"{summary['done']} pictures of {arguments.side} × {arguments.side}, {whole:.1f} s in all")
    print(f"start-up, paid once: {whole - summary['seconds']:.1f} s")
    print(f"per picture {each * 1e3:.1f} ms; the network alone {network * 1e3:.1f} ms: {each / network:.2f} times that")


def network_seconds(model: str, side: int, runs: int) -> float:
    """Mean seconds of a run of the network, with the memory settings of the command."""
    keep_freed_memory()
    upscaler = Upscaler.from_pretrained(model, dtype="auto", tile=None)
    lr = torch.rand(1, 3, side, side)
    for _ in range(3):
        upscaler.runner(lr)
    began = time.perf_counter()
    for _ in range(runs):
        upscaler.runner(lr)
    return (time.perf_counter() - began) / runs


if __name__ == "__main__":
    main()
