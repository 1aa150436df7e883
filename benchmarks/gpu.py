"""Everything to measure on a GPU: throughput, memory and energy of the networks, and the training step.

    python benchmarks/gpu.py [--device cuda:1] [--side 512] [--seconds 5]

For each network, dtype, memory layout and way to run (plain, ``torch.compile``, CUDA graph): milliseconds per image,
output megapixels per second, peak memory, joules per megapixel, and the largest difference from float32. Each runs for
several seconds, so that the energy counter moves. Without a GPU it says so and exits with 1.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sr_cli.config import TrainConfig
from sr_cli.data import Batch
from sr_cli.errors import DeviceError
from sr_cli.networks.registry import build
from sr_cli.system import device as devices
from sr_cli.system.telemetry import EnergyMeter
from sr_cli.training.trainer import Trainer

NETWORKS = {
    "compact-x4": {"name": "compact", "scale": 4, "width": 64, "depth": 16},
    "johnson-x4": {"name": "johnson", "scale": 4},
}
DTYPES = ("float32", "float16", "bfloat16")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
WAYS = ("as it is", "compiled", "CUDA graph")
Run = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=512, help="of the LR image (512)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds per measurement (5)")
    options = parser.parse_args()
    try:
        device = devices.choose(options.device)
    except DeviceError as error:
        sys.exit(f"No GPU to measure: {error}.")
    if device.type != "cuda":
        sys.exit(f"No GPU to measure: {device} isn't one that this program knows; it takes cuda or cuda:N.")
    torch.cuda.set_device(device)
    print(f"{devices.name_of(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    a = torch.rand(8192, 8192, device=device)
    for name in DTYPES:
        b = a.to(devices.DTYPES[name])
        milliseconds, *_ = measured(lambda: b @ b, device, options.seconds)  # noqa: B023
        print(f"{name} GEMM {2 * 8192**3 / milliseconds / 1e9:.1f} TFLOP/s")
    print(f"\nLR {options.side}²")
    print(f"{'':49}{'ms':>9}{'MP/s':>9}{'MB':>8}{'J/MP':>9}{'difference':>12}")
    with torch.inference_mode():
        for name in NETWORKS:
            upscaling(name, device, options)
    print(f"\ntraining step of johnson-x4, 4 patches of 288²\n{'':49}{'ms':>9}{'images/s':>9}{'MB':>8}{'J/image':>9}")
    for precision in DTYPES:
        for compiled in (False, True):
            label = f"{precision}, {'compiled' if compiled else 'as it is'}"
            with reported(label):
                step = training_step(precision, device, compiled=compiled)
                milliseconds, memory, joules = measured(step, device, options.seconds)
                print(f"{label:49}{milliseconds:9.2f}{4e3 / milliseconds:9.1f}{memory / 1e6:8.0f}{told(joules, 4)}")


def upscaling(name: str, device: torch.device, options: argparse.Namespace) -> None:
    """A line for each dtype, layout and way to run."""
    network = build(**NETWORKS[name]).eval().requires_grad_(False)  # type: ignore[arg-type]
    lr = torch.rand(1, 3, options.side, options.side, device=device)
    exact = copy.deepcopy(network.fuse()).eval().to(device)(lr)
    megapixels = exact[0, 0].numel() / 1e6
    for dtype in DTYPES:
        for layout, memory_format in LAYOUTS.items():
            for way in WAYS:
                label = f"{name}, {dtype}, {layout}, {way}"
                with reported(label):
                    torch_dtype = devices.DTYPES[dtype]
                    by_row = not devices.has_matrix_units(device, torch_dtype)  # as `sr upscale` does
                    folded = network.fuse(matrix_units=not by_row)
                    fast = copy.deepcopy(folded).eval().to(device=device, dtype=torch_dtype)
                    fast.to(memory_format=memory_format)  # type: ignore[call-overload]
                    source = lr.to(torch_dtype).contiguous(memory_format=memory_format)
                    run = ready(fast, source, way)
                    off = float((run().float() - exact).abs().max())
                    milliseconds, memory, joules = measured(run, device, options.seconds)
                    print(
                        f"{label:49}{milliseconds:9.2f}{1e3 * megapixels / milliseconds:9.1f}{memory / 1e6:8.0f}"
                        f"{told(joules, megapixels)}{off:12.1e}",
                        flush=True,
                    )


def ready(network: nn.Module, lr: Tensor, way: str) -> Run:
    """One run over that image."""
    if way == "CUDA graph":
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # as capture asks for it: what is chosen once is chosen before
            for _ in range(3):
                network(lr)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            sr = network(lr)

        def replay() -> Tensor:
            graph.replay()
            return sr  # type: ignore[no-any-return]

        return replay
    run = torch.compile(network) if way == "compiled" else network
    return lambda: run(lr)


def training_step(precision: str, device: torch.device, *, compiled: bool) -> Run:
    """One step with photos in memory; the loss network has random weights."""
    channels = [(3, 64), (64, 64), (64, 128), (128, 128)]
    state: dict[str, Tensor] = {}
    for place, (inputs, outputs) in zip((0, 2, 5, 7), channels, strict=True):
        state[f"features.{place}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{place}.bias"] = torch.zeros(outputs)
    config = TrainConfig(arch="johnson", crop_size=288, batch_size=4, precision=precision, compile=compiled)  # type: ignore[arg-type]
    trainer = Trainer(config, device, vgg_state=state)
    batch = Batch(torch.rand(4, 3, 288, 288, device=device), torch.rand(4, 3, 72, 72, device=device), [], [])

    def step() -> Tensor:
        trainer.learn(batch)
        trainer.update(1e-4)
        return batch.hr

    return step


def measured(run: Run, device: torch.device, seconds: float) -> tuple[float, int, float | None]:
    """Milliseconds, peak bytes, and joules (if the device reports them) of a run."""
    for _ in range(3):
        run()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    count = 0
    with EnergyMeter(device, interval=0.1) as meter:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            run()
            torch.cuda.synchronize(device)
            count += 1
        taken = time.perf_counter() - began
    hours = meter.report().watt_hours
    return 1e3 * taken / count, torch.cuda.max_memory_allocated(device), hours and 3600 * hours / count


@contextmanager
def reported(label: str) -> Iterator[None]:
    """Print a failure (memory, no compiler) as a line, and continue with the other measurements."""
    try:
        yield
    except Exception as error:
        print(f"{label:49} failed: {(str(error).splitlines() or [type(error).__name__])[0]}")
        torch.cuda.empty_cache()


def told(joules: float | None, pieces: float) -> str:
    return f"{'unknown':>9}" if joules is None else f"{joules / pieces:9.3f}"


if __name__ == "__main__":
    main()
