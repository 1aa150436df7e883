"""Time each command alone and beside a busy process, with several ways in which idle OpenMP threads wait.

    python benchmarks/busy.py
    python benchmarks/busy.py --only train --repetitions 5

N threads beside one busy process on N cores have a fair share of N / (N + 1), so they take (N + 1) / N times as long.
Run it on an idle machine; the best of several repetitions counts. In a container, it shows what its CPU quota allows.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from commands import make_pictures, measured
from sr_cli.system import memory as machine

POLICIES = {
    "as the command sets it": {},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "OpenMP's own": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "300000"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["upscale", "train", "evaluate"], help="by default all")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    print(f"{machine.cpu_name()}, {machine.cpus()} cores may be used")
    print(f"{'':10}{'idle threads':26}{'alone':>9}{'busy':>9}{'ratio':>8}{'CPU s alone':>13}{'busy':>9}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_pictures(folder / "in", 40, 96)
        sr = [sys.executable, "-m", "sr_cli"]
        commands = {
            "upscale": [*sr, "upscale", f"{folder}/in", "-o", f"{folder}/out", "--overwrite", "-m", "compact-x4"],
            "evaluate": [*sr, "evaluate", f"{folder}/in", "--model", "compact-x4", "--metrics", "psnr"],
            "train": [
                *sr, "train", f"{folder}/in", "--batch-size", "4", "--crop-size", "64", "--steps", "60",
                "--runs-dir", f"{folder}/runs", "--name",
            ],
        }  # fmt: skip
        for name in [options.only] if options.only else commands:
            for policy, variables in POLICIES.items():
                os.environ.update(variables)
                alone = best(commands[name], options.repetitions)
                spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                try:
                    busy = best(commands[name], options.repetitions)
                finally:
                    spinner.kill()
                    spinner.wait()
                for variable in variables:
                    del os.environ[variable]
                print(
                    f"{name:10}{policy:26}{alone.seconds:9.2f}{busy.seconds:9.2f}{busy.seconds / alone.seconds:8.2f}"
                    f"{alone.cpu:13.2f}{busy.cpu:9.2f}", flush=True,
                )  # fmt: skip


def best(command, repetitions):
    """The fastest of several runs; each training has a name of its own."""
    runs = []
    for _ in range(repetitions):
        own = [os.urandom(4).hex()] if command[-1] == "--name" else []
        runs.append(measured([*command, *own]))
    return min(runs, key=lambda run: run.seconds)


if __name__ == "__main__":
    main()
