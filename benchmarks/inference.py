"""How fast do the networks run here, and how much of what the machine can do is that?

    python benchmarks/inference.py

For each network: the naive form (contiguous tensors, as written) and the inference form, seconds for one image of each
size, output megapixels a second, and the share of the float32 GEMM rate that was measured in the same run; the best of
several repetitions. ``--threads 1 2`` compares thread counts. The networks have random weights, which run as fast.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sr_cli import machine
from sr_cli.inference import inference_form
from sr_cli.networks import build

NETWORKS = {
    "johnson-x4": {"name": "johnson", "scale": 4},
    "compact-x4": {"name": "compact", "scale": 4, "width": 48, "depth": 16},
}


def best(work: Callable[[], object], repetitions: int) -> float:
    """Seconds of the fastest of several repetitions, after one that doesn't count."""
    work()
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def gemm_rate(repetitions: int) -> float:
    """Floating-point operations a second of a large float32 matrix product."""
    side = 2048
    a, b = torch.rand(side, side), torch.rand(side, side)
    return 2 * side**3 / best(lambda: a @ b, repetitions)


def operations(network: nn.Module, lr: torch.Tensor) -> int:
    """Floating-point operations of the network as written, two for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        network(lr)
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--naive", type=int, default=256, help="largest size at which the naive form is timed too")
    options = parser.parse_args()

    print(f"{machine.cpu_name()}, torch {torch.__version__}")
    cpu = torch.device("cpu")
    for threads in options.threads:
        torch.set_num_threads(threads)
        rate = gemm_rate(options.repetitions)
        print(f"\n{threads} threads, float32 GEMM {rate / 1e9:.0f} GFLOP/s")
        head = ("network", "size", "naive s", "ours s", "ratio", "MP/s", "of GEMM", "ns/pixel")
        print("{:>12} {:>5} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8}".format(*head))
        for name, architecture in NETWORKS.items():
            network = build(**architecture).eval().requires_grad_(False)
            fast = inference_form(network, device=cpu, dtype=torch.float32)
            for size in options.sizes:
                lr = torch.rand(1, 3, size, size)
                with torch.inference_mode():
                    naive = best(lambda: network(lr), options.repetitions) if size <= options.naive else None  # noqa: B023
                    ours = best(lambda: fast(lr), options.repetitions)  # noqa: B023
                    work = operations(network, lr)
                pixels = (size * network.scale) ** 2
                ratio = f"{naive:8.3f} {ours:8.3f} {naive / ours:6.2f}" if naive else f"{'':8} {ours:8.3f} {'':6}"
                share = work / ours / rate
                print(
                    f"{name:>12} {size:>5} {ratio} {pixels / ours / 1e6:6.2f} {share:8.0%} {ours / pixels * 1e9:8.0f}"
                )


if __name__ == "__main__":
    main()
