"""Upscale one large photo with `sr upscale`, and print time, speed and memory.

    python benchmarks/large_photo.py                       # 12 megapixels by 4, PNG
    python benchmarks/large_photo.py --format tiff --megapixels 3

Memory is the largest resident set of the command's process, as the kernel counts it.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from commands import make_photo, measured


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
        run = measured([*command, "--model", arguments.model, *arguments.options.split()])
        bare = measured([sys.executable, "-c", "import torch"]).memory
        told = json.loads(run.lines[0])
        size = result.stat().st_size
    wide, high = told["output_size"]
    pixels = wide * high
    print(f"{width} × {height} → {wide} × {high} ({pixels / 1e6:.0f} MP), {arguments.format}, {size / 1e6:.0f} MB file")
    print(
        f"{run.seconds:.1f} s in all, {told['seconds']:.1f} s of it upscaling: {told['megapixels_per_second']:.2f} MP/s"
    )
    print(f"tiles {told['tile']}, {told['model']} on {told['device']} in {told['dtype']}")
    over = run.memory - bare
    print(f"peak memory {run.memory / 1e9:.2f} GB; a bare `import torch` takes {bare / 1e9:.2f} GB")
    print(
        f"beyond that {over / 1e9:.2f} GB; 3 bytes a pixel of output and 600 MB are {(3 * pixels + 6e8) / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
