"""Would another engine run our networks faster than torch on this CPU?

    python -m pip install -e '.[onnx]' openvino     # into a separate environment
    python benchmarks/engines.py

Each engine runs the network as trained and in our inference form, through ONNX; the result is the ratio to torch's
inference form. The engines take turns on one image. Each first does an uncounted run, since the threads of the last
one may still spin; then the best of several repetitions counts. The largest difference from the network as written is
printed. `johnson` has random weights, which run as fast; missing engines are left out. With `--dtype bfloat16` torch
and OpenVINO compute in that; ONNX Runtime's CPU engine has no bfloat16 convolutions and stays in float32.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable

from sr_cli.system.cpu_tuning import limit_openmp_spin

limit_openmp_spin()  # before torch, as `sr upscale` does

import numpy as np
import torch
from torch import Tensor, nn

from inference import gemm_rate
from sr_cli.networks.checkpoint import load_network
from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.networks.registry import build
from sr_cli.system import memory as machine
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.system.device import DTYPES
from sr_cli.upscaling.load import find_weights

Engine = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as `sr upscale` does
    torch.manual_seed(0)
    networks = {"compact-x4": load_network(find_weights("compact-x4"))[0], "johnson-x4": settled_johnson()}
    print(f"{machine.cpu_name()}, {options.threads} threads, torch {torch.__version__}, ", end="")
    print(f"float32 GEMM {gemm_rate(options.repetitions) / 1e9:.0f} GFLOP/s")
    print(f"{'network':>12} {'size':>5} {'engine':>24} {'seconds':>8} {'to torch':>9} {'difference':>11}")
    for name, network in networks.items():
        network.eval().requires_grad_(False)
        for size in options.sizes:
            engines = engines_of(network, size, options.threads, DTYPES[options.dtype])
            lr = torch.rand(1, 3, size, size)
            with torch.inference_mode():
                exact = network(lr)
                results = {engine: run(lr) for engine, run in engines.items()}
                seconds = in_turns(engines, lr, options.repetitions)
            for engine, taken in seconds.items():
                off = float((results[engine] - exact).abs().max())
                print(f"{name:>12} {size:>5} {engine:>24} {taken:8.3f} {seconds['torch'] / taken:7.2f} × {off:11.1e}")


def settled_johnson() -> nn.Module:
    """Random weights whose BatchNorms have seen some images; otherwise the output is plain gray."""
    network = build(name="johnson", scale=4).train()
    with torch.no_grad():
        for _ in range(40):
            network(torch.rand(1, 3, 24, 24))
    return network


def in_turns(engines: dict[str, Engine], lr: Tensor, repetitions: int) -> dict[str, float]:
    """Seconds of the fastest run of each."""
    best = dict.fromkeys(engines, float("inf"))
    for _ in range(repetitions):
        for name, run in engines.items():
            run(lr)
            began = time.perf_counter()
            run(lr)
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def engines_of(network: nn.Module, size: int, threads: int, dtype: torch.dtype) -> dict[str, Engine]:
    """The installed engines, torch first, for square images of that size."""
    engines = {"torch": InferenceForm(network, device=torch.device("cpu"), dtype=dtype)}
    folded = network.fuse().eval()
    forms = {"": network} if folded is network else {"": network, ", folded": folded}
    for suffix, form in forms.items():
        onnx = exported(form, size)
        if importlib.util.find_spec("onnxruntime"):
            engines[f"onnxruntime{suffix}"] = in_onnxruntime(onnx, threads)
        if importlib.util.find_spec("openvino"):
            engines[f"openvino{suffix}"] = in_openvino(onnx, threads, "f32" if dtype == torch.float32 else "bf16")
    return engines


def exported(network: nn.Module, size: int) -> bytes:
    """The network as ONNX, for one size: our form of `johnson` splits an image into strips."""
    program = torch.onnx.export(
        network, (torch.rand(1, 3, size, size),), dynamo=True, opset_version=18, input_names=["lr"],
        output_names=["sr"], verbose=False,
    )  # fmt: skip
    assert program is not None
    return program.model_proto.SerializeToString()  # type: ignore[no-any-return]


def in_onnxruntime(onnx: bytes, threads: int) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(["sr"], {"lr": lr.numpy()})[0])


def in_openvino(onnx: bytes, threads: int, precision: str) -> Engine:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(core.read_model(onnx), "CPU", settings)
    return lambda lr: torch.from_numpy(np.array(compiled([lr.numpy()])[0]))


if __name__ == "__main__":
    main()
