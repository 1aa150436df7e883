"""What `sr` does on a GPU: networks, forms of networks, training steps, start-up, a large photo, many small files.

    python benchmarks/gpu.py                                      # all of it, some minutes
    python benchmarks/gpu.py --quick --models realesr-general-x4v3.safetensors --output gpu.jsonl
    python benchmarks/gpu.py --only peaks networks --seconds 5

Each line is printed as soon as it is measured, and appended to the output file as JSON. A megapixel is one of output. A
share is that of the matrix product's rate in the same dtype, in the same run; operations are those of the network as
written. Energy is the board's, by its counter; below a second per measurement it is rough. Without a GPU it says so and
exits with 1.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from commands import make_photo, make_pictures, measured
from sr_cli import weights
from sr_cli.config import TrainConfig, recipe
from sr_cli.data import Batch
from sr_cli.errors import DeviceError
from sr_cli.networks.base import Network
from sr_cli.networks.fast import fused_johnson
from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.system import device as devices
from sr_cli.system.telemetry import EnergyMeter
from sr_cli.training.loop import configure_process
from sr_cli.training.trainer import Trainer
from sr_cli.upscaling.load import find_weights, load_weights
from sr_cli.upscaling.runner import Runner
from train_step import plain_johnson, plain_vgg, vgg_weights

DTYPES = ("float32", "float16", "bfloat16")
_COMMANDS = (("compact-x4", "png"), ("johnson-x4", "jpg"))
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=[], help="weights to measure besides those that ship")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=3, help="seconds per measurement (3)")
    parser.add_argument("--quick", action="store_true", help="0.4 seconds per measurement, and fewer of them")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no measurement begins")
    parser.add_argument("--output", type=Path, help="file for the figures, a JSON object per line")
    options = parser.parse_args()
    try:
        device = devices.choose("cuda")
    except DeviceError as error:
        sys.exit(f"No GPU to measure: {error}.")
    bench = Bench(device, options)
    print(f"{devices.name_of(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
          f"cuDNN {torch.backends.cudnn.version()}")  # fmt: skip
    for name in options.only:
        print(f"\n{name} ({time.monotonic() - bench.began:.0f} s)", flush=True)
        SECTIONS[name](bench)


class Bench:
    """What the sections share: the device, the options, the rates of matrix products, and the output."""

    def __init__(self, device: torch.device, options: argparse.Namespace) -> None:
        self.device, self.options, self.quick = device, options, options.quick
        self.seconds = 0.4 if options.quick else options.seconds
        self.began = time.monotonic()
        self.rates: dict[str, float] = {}

    def tell(self, label: str, **figures: Any) -> None:
        shown = "  ".join(f"{value:.4g} {name}" if isinstance(value, float) else f"{value} {name}"
                          for name, value in figures.items() if value is not None)  # fmt: skip
        print(f"  {label:44} {shown}", flush=True)
        if self.options.output:
            with self.options.output.open("a") as file:
                file.write(json.dumps({"what": label, **figures}) + "\n")

    @contextmanager
    def attempt(self, label: str) -> Iterator[None]:
        """Report a failure (memory, no compiler) as a line and go on."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.tell(label, failed=(str(error).strip().splitlines() or [type(error).__name__])[0][:100])
        torch.cuda.empty_cache()

    @property
    def late(self) -> bool:
        return time.monotonic() - self.began > self.options.limit

    def measure(self, label: str, run: Run, *, megapixels: float = 0, images: int = 0, flop: float = 0,
                dtype: str = "") -> float:  # fmt: skip
        """Milliseconds of a run, its memory and energy; several are queued, as the CPU works ahead."""
        for _ in range(3):
            run()
        torch.cuda.synchronize(self.device)
        began = time.perf_counter()
        run()
        torch.cuda.synchronize(self.device)
        count = max(3, int(self.seconds / (time.perf_counter() - began)))
        torch.cuda.reset_peak_memory_stats(self.device)
        with EnergyMeter(self.device, interval=0.1) as meter:
            began = time.perf_counter()
            for _ in range(count):
                run()
            torch.cuda.synchronize(self.device)
            seconds = (time.perf_counter() - began) / count
        report = meter.report()
        joules = report.mean_watts and report.mean_watts * seconds
        self.tell(
            label,
            ms=1e3 * seconds,
            **({"MP/s": megapixels / seconds} if megapixels else {}),
            **({"images/s": images / seconds} if images else {}),
            **({"of peak": flop / seconds / self.rates[dtype]} if flop and dtype in self.rates else {}),
            MB=torch.cuda.max_memory_allocated(self.device) // 10**6,
            W=report.mean_watts,
            **{"J/MP": joules / megapixels if joules and megapixels else None},
        )
        return seconds


def peaks(bench: Bench) -> None:
    """What the card can do: matrix products, and copies."""
    for name in (*DTYPES, "tf32"):
        dtype = devices.DTYPES.get(name, torch.float32)
        a, b = (torch.randn(8192, 8192, device=bench.device).to(dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        seconds = bench.measure(f"matrix product, {name}", lambda: a @ b)
        bench.rates[name] = 2 * 8192**3 / seconds
        print(f"{'':47}{bench.rates[name] / 1e12:.1f} TFLOP/s")
    torch.backends.cuda.matmul.allow_tf32 = False
    here = torch.rand(64 << 20, device=bench.device)
    pinned = torch.empty(64 << 20, pin_memory=True)
    ways: dict[str, Run] = {
        "copy on the card": here.clone,
        "copy to memory": here.cpu,
        "copy to pinned memory": lambda: pinned.copy_(here, non_blocking=True),
    }
    for label, run in ways.items():
        seconds = bench.measure(label, run)
        print(f"{'':47}{here.nbytes / seconds / 1e9:.1f} GB/s")


def chosen(bench: Bench) -> dict[str, Network]:
    """The networks, one of each architecture, by the shortest of the names that share it."""
    shipped = [name for name, entry in weights.entries().items() if weights.state(entry) == "shipped"]
    found: dict[str, tuple[str, Network]] = {}
    for name in sorted([*shipped, *bench.options.models], key=len):
        network, _ = load_weights(find_weights(name))
        found.setdefault(str(network.architecture), (Path(name).stem, network.eval().requires_grad_(False)))
    return dict(found.values())


def flop_per_pixel(network: Network) -> float:
    """Floating-point operations of the network as written, for a pixel of LR."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    return float(counter.get_total_flops()) / 64**2


@torch.no_grad()
def networks(bench: Bench) -> None:
    """Each network as `sr upscale` runs it, by dtype, side of a tile and batch; then with its copies to memory."""
    for name, network in chosen(bench).items():
        flop = flop_per_pixel(network)
        sizes = {"float16": [(512, 1), (256, 1), (256, 16), (1024, 1)]}
        for dtype in DTYPES:
            form = InferenceForm(network, device=bench.device, dtype=devices.DTYPES[dtype])
            for side, count in sizes.get(dtype, [(512, 1)]):
                if bench.late:
                    return
                label = f"{name}, {dtype}, {count} × {side}²"
                with bench.attempt(label):
                    lr = torch.rand(count, 3, side, side, device=bench.device)
                    pixels = count * side**2
                    bench.measure(label, lambda: form(lr), megapixels=pixels * network.scale**2 / 1e6,
                                  flop=flop * pixels, dtype=dtype)  # fmt: skip
        label = f"{name}, float16, 2000², strips to memory"
        with bench.attempt(label):
            runner, lr = Runner(network, device=bench.device, dtype=torch.float16), torch.rand(1, 3, 2000, 2000)

            def strips() -> None:
                for strip in runner.strips(lambda rows: lr[..., rows, :], (2000, 2000)):
                    del strip

            bench.measure(label, strips, megapixels=4 * network.scale**2)
            bench.tell(label, tile=str(runner.tile))


@torch.no_grad()
def forms(bench: Bench) -> None:
    """Ways to run a network in float16, with small and large pictures."""
    for name in ("compact-x4", "johnson-x4"):
        network, _ = load_weights(find_weights(name))
        network.eval().requires_grad_(False)
        for side in (64, 512):
            lr = torch.rand(1, 3, side, side, device=bench.device)
            half = lr.half()
            written = copy.deepcopy(network).to(bench.device, torch.float16)
            form = InferenceForm(network, device=bench.device, dtype=torch.float16)
            planar = copy.deepcopy(form.network).to(memory_format=torch.contiguous_format)
            ways: dict[str, Callable[[], Run]] = {
                "as written": lambda: lambda: written(half),
                "as sr runs it": lambda: lambda: form(lr),
                "planes, not channels last": lambda: lambda: planar(lr if name.startswith("c") else half),
                "cuDNN benchmark": lambda: benchmarked(lambda: form(lr)),
                "CUDA graph": lambda: graph(lambda: form(lr)),
                "CUDA graph, cuDNN benchmark": lambda: graph(benchmarked(lambda: form(lr))),
            }
            if name.startswith("johnson"):
                rows = copy.deepcopy(network.fuse(matrix_units=False)).to(bench.device, torch.float16)
                rows.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                ways["last layer row by row"] = lambda: lambda: rows(form._prepare(lr))
                ways["phases not in strips"] = lambda: unstripped(lambda: form(lr))
            if not bench.quick:
                ways["compiled"] = lambda: compiled(form.network, form._prepare(lr))
            for way, make in ways.items():
                if bench.late:
                    return
                label = f"{name}, 1 × {side}², {way}"
                with bench.attempt(label):
                    bench.measure(label, make(), megapixels=(side * network.scale) ** 2 / 1e6)


def compiled(network: nn.Module, lr: Tensor) -> Run:
    run = torch.compile(network)
    return lambda: run(lr)


def benchmarked(run: Run) -> Run:
    """With cuDNN trying its algorithms first."""

    def timed() -> object:
        torch.backends.cudnn.benchmark = True
        try:
            return run()
        finally:
            torch.backends.cudnn.benchmark = False

    return timed


def unstripped(run: Run) -> Run:
    def whole() -> object:
        before, fused_johnson._STRIP = fused_johnson._STRIP, 1 << 34
        try:
            return run()
        finally:
            fused_johnson._STRIP = before

    return whole


def graph(run: Run) -> Run:
    """A run, recorded and replayed."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # as capture asks for it: what is chosen once is chosen before
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(beside)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        run()
    return recorded.replay


def training(bench: Bench) -> None:
    """Training steps with patches in memory: plain PyTorch (with TF32, its default), then ours by precision."""
    state = vgg_weights(None)
    compilable = () if bench.quick else ("float32", "bfloat16")
    for name in ("johnson", "compact"):
        config = recipe(name)
        size, low = config.crop_size, config.crop_size // config.scale
        hr, lr = torch.rand(config.batch_size, 3, size, size), torch.rand(config.batch_size, 3, low, low)
        batch = Batch(hr.pin_memory(), lr.pin_memory(), [], [])
        ours = {f"ours, {each}": replace(config, precision=each) for each in DTYPES}
        ours |= {f"ours, {each}, compiled": replace(config, precision=each, compile=True) for each in compilable}
        ways = {"plain PyTorch": lambda: plain_step(name, batch, bench.device, state)}
        ways |= {way: partial(our_step, each, batch, bench.device, state) for way, each in ours.items()}
        for way, make in ways.items():
            if bench.late:
                return
            label = f"{name}, {config.batch_size} × {size}², {way}"
            with bench.attempt(label):
                bench.measure(label, make(), images=config.batch_size)


def our_step(config: TrainConfig, batch: Batch, device: torch.device, state: dict[str, Tensor]) -> Run:
    configure_process(config)
    trainer = Trainer(config, device, vgg_state=state)

    def step() -> None:
        trainer.learn(batch)
        trainer.update(1e-4)

    return step


def plain_step(name: str, batch: Batch, device: torch.device, state: dict[str, Tensor]) -> Run:
    """A step as a tutorial has it: contiguous tensors, Adam, no moving average."""
    torch.backends.cudnn.benchmark = False
    network: nn.Module = (plain_johnson() if name == "johnson" else PlainCompact()).to(device)
    vgg = plain_vgg().requires_grad_(False)
    vgg.load_state_dict({key.removeprefix("features."): value for key, value in state.items()})
    vgg.to(device)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1)
                 for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # fmt: skip
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        hr, lr = batch.hr.to(device), batch.lr.to(device)
        adam.zero_grad()
        sr = network(lr)
        loss = F.mse_loss(vgg((sr - mean) / std), vgg((hr - mean) / std)) if name == "johnson" else F.l1_loss(sr, hr)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        loss.item()

    return step


class PlainCompact(nn.Module):
    """`compact` x4 from PyTorch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        inner = [layer for _ in range(16) for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.LeakyReLU(0.1))]
        self.layers = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.LeakyReLU(0.1), *inner,
                                    nn.Conv2d(64, 48, 3, padding=1), nn.PixelShuffle(4))  # fmt: skip

    def forward(self, lr: Tensor) -> Tensor:
        return self.layers(lr) + F.interpolate(lr, scale_factor=4, mode="bicubic")  # type: ignore[no-any-return]


def commands(bench: Bench) -> None:
    """`sr upscale` as a program: its start, a photo of 12 megapixels, and small files."""
    sr = [sys.executable, "-m", "sr_cli", "upscale"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder / "one", 1, 64)
        make_photo(folder / "photo.jpg", 12)
        with bench.attempt("start-up"):
            imports = measured([sys.executable, "-c", "import torch"]).seconds
            context = measured([sys.executable, "-c", "import torch; torch.zeros(1, device='cuda')"]).seconds
            one = measured([*sr, str(folder / "one"), "-o", str(folder / "small"), "--json"]).seconds
            bench.tell("start-up", **{"s import torch": imports, "s and a tensor": context, "s sr upscale, 64²": one})
        for model, suffix in _COMMANDS:
            if bench.late:
                return
            with bench.attempt(label := f"12 MP to 192, {model}, {suffix}"):
                target = str(folder / f"{model}.{suffix}")
                run = measured([*sr, str(folder / "photo.jpg"), "-o", target, "--model", model, "--json"])
                told = json.loads(run.lines[0])
                bench.tell(label, s=run.seconds, **{"s upscaling": told["seconds"], "CPU s": run.cpu,
                           "MP/s": told["megapixels_per_second"], "MB GPU": told["peak_memory"] // 10**6,
                           "MB": run.memory // 10**6, "tile": told["tile"]})  # fmt: skip
        count = 1000
        make_pictures(folder / "many", count, 128)
        for model, suffix in _COMMANDS:
            if bench.late:
                return
            with bench.attempt(label := f"{count} files of 128², {model}, {suffix}"):
                options = ["--model", model, "--format", suffix, "--if-exists", "overwrite", "--json"]
                many_files(bench, label, [*sr, str(folder / "many"), "-o", str(folder / "out"), *options])


def many_files(bench: Bench, label: str, command: list[str]) -> None:
    """Pictures a second from the first to the last, and how busy the card is meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began, count = time.perf_counter(), 0
        with EnergyMeter(bench.device, interval=0.1) as meter:
            for line in process.stdout:
                if "summary" not in line:
                    count, seconds = count + 1, time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{command[2:4]} ended with {process.returncode}")
    report = meter.report()
    bench.tell(label, s=seconds, **{"files/s": count / seconds, "MP/s": count / seconds * 0.262144,
               "of the time busy": report.mean_utilization, "W": report.mean_watts})  # fmt: skip


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "peaks": peaks,
    "networks": networks,
    "training": training,
    "forms": forms,
    "commands": commands,
}

if __name__ == "__main__":
    main()
