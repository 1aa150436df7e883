"""Shared by the benchmarks of whole commands: make pictures, run a command and measure it. Without torch."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Run:
    """One command: seconds on the clock and of CPU, bytes, and the lines that it printed."""

    seconds: float
    cpu: float
    memory: int
    lines: list[str]


def measured(command: list[str]) -> Run:
    """Run a command to its end. This process must stay small: Linux counts its peak as the command's, up to `exec`."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command[1:4])} ended with {process.returncode}")
        out.seek(0)
        memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Run(seconds, usage.ru_utime + usage.ru_stime, memory, out.read().splitlines())


def make_pictures(folder: Path, count: int, side: int) -> None:
    """Write PNG files with smooth content."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        small = rng.integers(0, 256, (side // 8 + 1, side // 8 + 1, 3), np.uint8)
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:04}.png")


def make_photo(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a JPEG with the proportions and about the detail of a photo."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    rng = np.random.default_rng(0)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (height // step + 1, width // step + 1, 3), np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            )
        )
        for step in (400, 60, 9)
    ]
    pixels = (0.6 * layers[0] + 0.3 * layers[1] + 0.1 * layers[2]).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=92)
    return width, height
