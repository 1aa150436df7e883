"""Upscale one large photo by `sr upscale`, and print its time, its pace and its memory.

    python benchmarks/large_photo.py                       # 12 megapixels by 4, PNG
    python benchmarks/large_photo.py --format tiff --megapixels 3

Memory is the largest resident set of the command's process, as the kernel counts it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="compact-x4", help="a name, or a file of weights")
    parser.add_argument("--megapixels", type=float, default=12, help="of the input (12)")
    parser.add_argument("--format", default="png", help="of the output (png)")
    parser.add_argument("--options", default="", help="more options for the command, such as '--tile 512'")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo, result = Path(folder) / "photo.jpg", Path(folder) / f"large.{arguments.format}"
        width, height = make_photo(photo, arguments.megapixels)
        command = [sys.executable, "-m", "sr_cli", "upscale", str(photo), "-o", str(result), "--json"]
        seconds, memory, output = measured([*command, "--model", arguments.model, *arguments.options.split()])
        _, bare, _ = measured([sys.executable, "-c", "import torch"])
        told = json.loads(output.splitlines()[0])
        size = result.stat().st_size
    wide, high = told["output_size"]
    pixels = wide * high
    print(f"{width} × {height} → {wide} × {high} ({pixels / 1e6:.0f} MP), {arguments.format}, {size / 1e6:.0f} MB file")
    print(f"{seconds:.1f} s in all, {told['seconds']:.1f} s of it upscaling: {told['megapixels_per_second']:.2f} MP/s")
    print(f"tiles {told['tile']}, {told['model']} on {told['device']} in {told['dtype']}")
    over = memory - bare
    print(f"peak memory {memory / 1e9:.2f} GB; a bare `import torch` takes {bare / 1e9:.2f} GB")
    print(
        f"beyond that {over / 1e9:.2f} GB; 3 bytes a pixel of output and 600 MB are {(3 * pixels + 6e8) / 1e9:.2f} GB"
    )


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


def measured(command: list[str]) -> tuple[float, int, str]:
    """Seconds, largest resident set in bytes, and output of a command."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{command[2:4]} ended with {process.returncode}")
        out.seek(0)
        return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), out.read()


if __name__ == "__main__":
    main()
