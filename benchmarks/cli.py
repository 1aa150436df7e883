"""Time whole commands: start-up, one small picture, one photo, a folder of pictures.

    python benchmarks/cli.py
    python benchmarks/cli.py --only batch        # compare with OMP_WAIT_POLICY=ACTIVE set

Prints wall-clock and CPU seconds, the largest resident set, and the shares of the time. Decoding, network and encoding
run in parallel, so their shares may add up to more than the whole; start-up is the rest. The best of several
repetitions counts, but the photo is upscaled once.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from commands import Run, make_photo, make_pictures, measured
from sr_cli.system import memory as machine

SR = [sys.executable, "-m", "sr_cli"]
MODEL = ["-m", "compact-x4"]  # whatever the picture looks like


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["start", "photo", "batch"], help="by default all")
    parser.add_argument("--megapixels", type=float, default=12, help="of the photo (12)")
    parser.add_argument("--count", type=int, default=100, help="pictures of the batch, 128 × 128 each (100)")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine.cpu_name()}, {len(os.sched_getaffinity(0))} cores, ", end="")
    print(f"OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'as the command sets it')}")
    print(f"{'':28}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        if options.only in (None, "start"):
            start(Path(folder), options.repetitions)
        if options.only in (None, "photo"):
            width, height = make_photo(Path(folder) / "photo.jpg", options.megapixels)
            result = f"{folder}/photo.png"
            bare = best([sys.executable, "-c", "import torch"], 1)
            run = best([*SR, "upscale", f"{folder}/photo.jpg", "-o", result, "--json", "--overwrite", *MODEL], 1)
            tell(f"photo, {width}×{height} → PNG", run)
            shares(run)
            pixels = 16 * width * height
            print(f"  beyond a bare import of torch {(run.memory - bare.memory) / 1e6:.0f} MB; 3 bytes a pixel of "
                  f"output and 600 MB are {3 * pixels / 1e6 + 600:.0f} MB")  # fmt: skip
        if options.only in (None, "batch"):
            make_pictures(Path(folder) / "in", options.count, 128)
            command = [*SR, "upscale", f"{folder}/in", "-o", f"{folder}/out", "--json", "--overwrite", *MODEL]
            run = best(command, min(3, options.repetitions))
            tell(f"batch, {options.count} of 128×128", run)
            shares(run)


def start(folder: Path, repetitions: int) -> None:
    """Start-up alone, and one small picture."""
    make_pictures(folder / "small", 1, 64)
    picture, result = str(folder / "small" / "0000.png"), str(folder / "small.png")
    usage = best([*SR, "--help"], repetitions)
    tell("sr --help", usage)
    bare = best([sys.executable, "-c", "import torch"], repetitions)
    tell("import torch", bare)
    run = best([*SR, "upscale", picture, "-o", result, "--json", "--overwrite", *MODEL], repetitions)
    tell("sr upscale, 64×64", run)
    shares(run)
    print(f"  `sr --help` may take 0.3 s of CPU: {verdict(usage.cpu, 0.3)}")
    print(f"  `sr upscale` may take 1.2 × (import torch + 0.3 s): {verdict(run.seconds, 1.2 * (bare.seconds + 0.3))}")


def best(command: list[str], repetitions: int) -> Run:
    """The fastest of several runs."""
    return min((measured(command) for _ in range(repetitions)), key=lambda run: run.seconds)


def tell(what: str, run: Run) -> None:
    print(f"{what:28}{run.seconds:9.2f}{run.cpu:8.2f}{run.memory / 1e6:9.0f}", flush=True)


def shares(run: Run) -> None:
    """What the time of an ``sr upscale --json`` went to."""
    *pictures, summary = map(json.loads, run.lines)
    parts = {"start-up": run.seconds - summary["seconds"]}
    for name, key in (("decode", "decode_seconds"), ("network", "seconds"), ("encode", "encode_seconds")):
        parts[name] = sum(picture[key] for picture in pictures)
    print("  " + ", ".join(f"{name} {taken:.2f} s ({taken / run.seconds:.0%})" for name, taken in parts.items()))


def verdict(value: float, limit: float) -> str:
    return f"{value:.2f} s of {limit:.2f} s, {'held' if value <= limit else 'MISSED'}"


if __name__ == "__main__":
    main()
