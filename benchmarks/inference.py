"""How fast do the networks run here, and how close is that to what the machine can do?

    python benchmarks/inference.py
    python benchmarks/inference.py --threads 1 --sizes 64 256 1024
    python benchmarks/inference.py --tiles 64 128 256 512 1024 --sizes 1024

For each network, the form as written (contiguous tensors) and the inference form as `sr upscale` runs it: seconds for
one image of each size, output megapixels per second, and the share of the float32 GEMM rate measured in the same run.
The best of several repetitions counts, or a single one if it takes longer than ten seconds. The arithmetic is that of
the network as written: what tiles compute twice counts as lost. ``--threads 1 2`` compares thread counts, ``--tiles``
sizes of tiles. The networks have random weights, which run as fast.
"""

import argparse
import math
import os
import time
from collections.abc import Callable

from sr_cli.system.cpu_tuning import limit_openmp_spin

limit_openmp_spin()  # before torch, as `sr upscale` does

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sr_cli.networks.registry import build
from sr_cli.system import memory as machine
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.system.device import DTYPES
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tiling import Span, Tile

NETWORKS = {
    "johnson-x4": {"name": "johnson", "scale": 4},
    "compact-x4": {"name": "compact", "scale": 4, "width": 64, "depth": 16},
}
_LONG = 10.0  # seconds; what takes longer is run once
_STEADY = 256  # from this size on the cost of a pixel should not change


def best(work: Callable[[], object], repetitions: int) -> float:
    """Seconds of the fastest of several repetitions, after an uncounted one unless it took long."""
    times: list[float] = []
    while len(times) <= repetitions:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
        if times[0] > _LONG:
            return times[0]
    return min(times[1:])


def gemm_rate(repetitions: int) -> float:
    """Floating-point operations a second of a large float32 matrix product."""
    side = 2048
    a, b = torch.rand(side, side), torch.rand(side, side)
    return 2 * side**3 / best(lambda: a @ b, repetitions)


def operations(network: nn.Module, size: int) -> float:
    """Floating-point operations of the network as written, two for a multiply-add; they grow with the pixels."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    return float(counter.get_total_flops()) * (size / 64) ** 2


def seen(inference: Runner, size: int) -> float:
    """Pixels that the network sees, halos included, over those of the image."""
    if inference.streams(size, size):
        return 1.0
    margin = inference.geometry.halo + inference.geometry.blend
    side = Span(0, size, size)
    spans = [(tile.rows.widened(margin), tile.columns.widened(margin))
             for row in Tile(side, side).cut(*(inference.tile or (size, size))) for tile in row]  # fmt: skip
    return sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in spans) / size**2


def enlarge(inference: Runner, lr: torch.Tensor) -> None:
    """Like `sr upscale`: strip by strip, each dropped when the next arrives."""
    height, width = lr.shape[-2:]
    for strip in inference.strips(lambda rows: lr[..., rows, :], (height, width)):
        del strip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048])
    parser.add_argument("--tiles", type=int, nargs="+", help="sides of tiles to compare; by default the tool's choice")
    parser.add_argument("--threads", type=int, nargs="+", default=[len(os.sched_getaffinity(0))])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="what ours computes in")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--naive", type=int, default=256, help="largest size at which the naive form is timed too")
    options = parser.parse_args()

    keep_freed_memory()  # as `sr upscale` does
    print(f"{machine.cpu_name()}, torch {torch.__version__}; the naive form in float32, ours in {options.dtype}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        rate = gemm_rate(options.repetitions)
        print(f"\n{threads} threads, float32 GEMM {rate / 1e9:.0f} GFLOP/s")
        head = ("network", "size", "tile", "shown", "naive s", "ours s", "ratio", "MP/s", "of GEMM", "ns/pixel")
        print("{:>12} {:>5} {:>9} {:>6} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8}".format(*head))
        for name in options.networks:
            table(name, options, rate)


def table(name: str, options: argparse.Namespace, rate: float) -> None:
    """Lines for one network, and how its time grows with the image."""
    network = build(**NETWORKS[name]).eval().requires_grad_(False)  # type: ignore[arg-type]
    costs: dict[int, float] = {}
    for size in options.sizes:
        lr = torch.rand(1, 3, size, size)
        naive = None
        if size <= options.naive and not options.tiles:
            with torch.inference_mode():
                naive = best(lambda: network(lr), options.repetitions)
        for tile in options.tiles or ["auto"]:
            inference = Runner(network, device=torch.device("cpu"), tile=tile,
                                  dtype=DTYPES[options.dtype])  # fmt: skip
            inference.fit(size, size)
            ours = best(lambda: enlarge(inference, lr), options.repetitions)
            pixels = (size * network.scale) ** 2
            shape = "×".join(map(str, inference.tile)) if inference.tile else "whole"
            ratio = f"{naive:8.3f} {ours:8.3f} {naive / ours:6.2f}" if naive else f"{'':8} {ours:8.3f} {'':6}"
            share = operations(network, size) / ours / rate
            costs[size] = ours / pixels
            print(f"{name:>12} {size:>5} {shape:>9} {seen(inference, size):6.2f} {ratio} {pixels / ours / 1e6:6.2f} "
                  f"{share:8.0%} {costs[size] * 1e9:8.0f}", flush=True)  # fmt: skip
    steady = {size: cost for size, cost in costs.items() if size >= _STEADY}
    if len(steady) > 1 and not options.tiles:
        first, last = min(steady), max(steady)
        slope = 1 + math.log(steady[last] / steady[first]) / math.log((last / first) ** 2)
        spread = max(steady.values()) / min(steady.values()) - 1
        print(f"{name:>12} from {first} to {last}: seconds grow as pixels to the {slope:.3f}; "
              f"cost of a pixel within {spread:.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
