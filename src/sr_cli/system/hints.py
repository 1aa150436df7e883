"""What is slow, missing or mismatched on a machine, and what to do about it, in plain words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

EXTRAS = {
    "av": ("videos", "av"),
    "pillow_heif": ("HEIC pictures", "pillow-heif"),
    "onnxruntime": ("ONNX models", "onnxruntime"),
    "onnxscript": ("sr export", "onnx onnxruntime onnxscript"),
    "s3fs": ("s3:// addresses", "s3fs"),
    "uvicorn": ("sr serve", "starlette uvicorn python-multipart"),
    "tensorboard": ("sr train --tensorboard", "tensorboard"),
    "pandas": ("to_dataframe() in Python", "pandas"),
}
"""Optional packages by the modules that they bring: what needs them, and what to install."""

_SPINS = {"OMP_WAIT_POLICY": r"active", "GOMP_SPINCOUNT": r"infinit[ey]|\d{8,}", "KMP_BLOCKTIME": r"infinite"}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the hints are drawn from.

    Attributes:
        torch, torchvision: versions with their builds, such as ``2.9.1+cpu``; ``None`` if not installed.
        cuda: the version that PyTorch was built for, if any.
        uses_gpu: whether PyTorch can use a GPU here.
        nvidia_gpus: how many the driver sees.
        instructions: the vector instructions that PyTorch found, such as ``AVX2``; ``DEFAULT`` for none.
        is_x86: whether the CPU is one of Intel's or AMD's kind.
        has_bfloat16: whether the CPU is faster in bfloat16 than in float32.
        missing: modules out of `EXTRAS` that aren't installed.
        load: processes that want a CPU, on average over a minute.
    """

    torch: str | None
    torchvision: str | None
    cuda: str | None
    uses_gpu: bool
    nvidia_gpus: int
    instructions: str
    is_x86: bool
    has_bfloat16: bool
    missing: tuple[str, ...]
    environment: Mapping[str, str]
    load: float
    cpus: int


def hints(setup: Setup) -> list[str]:
    """A sentence or two for everything that could be better; none if all is well."""
    rows = [EXTRAS[module] for module in setup.missing]
    extras = [f"Not installed, for {purpose}: python -m pip install {packages}" for purpose, packages in rows]
    return [*_packages(setup), *_gpu(setup), *_cpu(setup), *extras]


def _packages(setup: Setup) -> list[str]:
    """PyTorch and torchvision belong together: 2.N and 0.(N + 15), from one place. Source: torchvision's README."""
    if not setup.torch or not setup.torchvision:
        return []
    ours, theirs = (_parts(version) for version in (setup.torch, setup.torchvision))
    if ours[:2] == (2, theirs[1] - 15) and (not ours[2] or not theirs[2] or ours[2] == theirs[2]):
        return []
    return [
        f"torch {setup.torch} and torchvision {setup.torchvision} don't belong together, so some measures and networks "
        "may fail: install both anew from one place, python -m pip install --upgrade torch torchvision"
    ]


def _parts(version: str) -> tuple[int, int, str]:
    """Major, minor, and the build behind the plus sign."""
    found = re.match(r"(\d+)\.(\d+)[^+]*\+?(.*)", version)
    return (int(found[1]), int(found[2]), found[3]) if found else (0, 0, "")


def _gpu(setup: Setup) -> list[str]:
    if setup.uses_gpu or not setup.torch:
        return []
    if setup.nvidia_gpus and setup.cuda:
        return [
            f"There is an NVIDIA GPU, but PyTorch cannot use it: its driver may be too old for CUDA {setup.cuda}. "
            "Update the driver, or install PyTorch for an older CUDA, see https://pytorch.org/get-started"
        ]
    if setup.nvidia_gpus:
        return [
            "There is an NVIDIA GPU, but this PyTorch was built without CUDA: install one with it, see "
            "https://pytorch.org/get-started"
        ]
    if setup.cuda:
        return [
            f"PyTorch was built for CUDA {setup.cuda}, but there is no NVIDIA GPU. Everything works on the CPU; the "
            "build for CPUs takes less disk space: python -m pip install torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu"
        ]
    return []


def _cpu(setup: Setup) -> list[str]:
    found = []
    spins = [name for name, value in _SPINS.items() if re.fullmatch(value, setup.environment.get(name, "").lower())]
    is_busy = setup.load > setup.cpus
    busy = f"other processes keep the CPUs busy (load {setup.load:.1f} on {setup.cpus})"
    if spins:
        now = f", and now {busy}" if is_busy else ""
        name = spins[0]
        found.append(
            f"{name}={setup.environment[name]} lets threads that wait for each other keep their cores busy, which is "
            f"very slow beside other processes{now}: unset it"
        )
    elif is_busy:
        found.append(f"O{busy[1:]}: everything takes longer for now")
    if setup.environment.get("OMP_NUM_THREADS") == "1" and setup.cpus > 1:
        found.append(f"OMP_NUM_THREADS=1 leaves {setup.cpus - 1} of {setup.cpus} CPUs unused: unset it")
    if setup.uses_gpu or not setup.torch:
        return found
    if setup.is_x86 and not setup.instructions.startswith("AVX"):
        found.append("This CPU has no AVX2, or PyTorch cannot use it: networks run slowly")
    elif not setup.has_bfloat16:
        found.append(
            "This CPU isn't faster in bfloat16, so networks compute in float32: exact, but slower than on newer CPUs"
        )
    return found
