"""What a CPU quota of one core costs beside one core to oneself. Linux, as root, with cgroups of version 1.

    python benchmarks/quota.py PHOTOS

Runs ``sr upscale`` on 24 pictures of 128² and ``sr train`` for 60 steps on PHOTOS, in turn under a quota
(``cpu.cfs_quota_us``) and on one core (``taskset``), twice, and prints the seconds and their ratio in Markdown.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

GROUPS = Path("/sys/fs/cgroup/cpu")
TRAINING = (
    "--arch compact --width 32 --depth 8 --crop-size 128 --batch-size 4 --steps 60 --validation-photos 0 --loss psnr"
)


def seconds(command: list[str], group: Path | None) -> float:
    def enter() -> None:
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    began = time.perf_counter()
    subprocess.run(
        [*(() if group else ("taskset", "-c", "0")), sys.executable, "-m", "sr_cli", *command],
        preexec_fn=enter, check=True, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    photos = parser.parse_args().photos
    group = GROUPS / f"sr-quota-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text((group / "cpu.cfs_period_us").read_text())
        print("| | quota, s | one core, s | ratio |\n| --- | --- | --- | --- |")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "in").mkdir()
            for index in range(24):
                noise = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(noise).resize((128, 128)).save(Path(folder, "in", f"{index}.png"))
            for turn in range(2):
                for name in ("upscale", "train"):
                    times = []
                    for kind, where in (("quota", group), ("core", None)):
                        command = ["upscale", f"{folder}/in", "-o", f"{folder}/{kind}{turn}"]
                        if name == "train":
                            runs = ["--runs-dir", f"{folder}/runs", "--name", f"{kind}{turn}"]
                            command = ["train", str(photos), *TRAINING.split(), *runs]
                        times.append(seconds(command, where))
                    print(f"| `sr {name}` | {times[0]:.1f} | {times[1]:.1f} | {times[0] / times[1]:.2f} |", flush=True)
    finally:
        group.rmdir()


if __name__ == "__main__":
    main()
