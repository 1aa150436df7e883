"""The choice of device and dtype, and the memory of a device."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from sr_cli.errors import DeviceError
from sr_cli.system import memory as machine
from sr_cli.system.cpu_tuning import release_freed_memory

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def available() -> list[str]:
    """Names of the devices that PyTorch can use on this machine, the fastest first; ``cpu`` is always last."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def choose(name: str = "auto") -> torch.device:
    """Look up a device by name; a `DeviceError` if that is invalid, or the device absent.

    Args:
        name: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda`` (the first one), ``cuda:N`` or ``mps``.
    """
    here = available()
    if name == "auto":
        return torch.device(here[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise DeviceError(f"invalid device {name!r}: choose auto, cpu, cuda, cuda:N or mps (here: {', '.join(here)})")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in here:
        raise DeviceError(f"{name}: {_why_absent(wanted)}; choose from {', '.join(('auto', *here))}")
    return torch.device(wanted)


def name_of(device: torch.device) -> str:
    """The product name of the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else machine.cpu_name()


def dtype_for(
    device: torch.device, name: str = "auto", *, bfloat16: Callable[[], bool] = lambda: True, float16: bool = True
) -> torch.dtype:
    """The dtype to run a network in.

    Args:
        name: ``float32``, ``float16``, ``bfloat16``, or ``auto``: float16 on CUDA GPUs of compute
            capability 7.0 and above, bfloat16 on CPUs that are faster in it, float32 on everything else.
        bfloat16, float16: whether ``auto`` may choose it, see `sr_cli.networks.base.Network.tolerates_bfloat16`; the
            former is called only if the answer matters.

    Raises:
        DeviceError: the device does not support that dtype.
        ValueError: the name is invalid.
    """
    if name == "auto":
        if float16 and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0):
            return torch.float16
        if device.type == "cpu" and has_fast_bfloat16() and bfloat16():
            return torch.bfloat16
        return torch.float32
    if name not in DTYPES:
        raise ValueError(f"invalid dtype {name!r}: choose auto, {', '.join(DTYPES)}")
    if name == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(f"{device} cannot compute in bfloat16; choose float16 or float32")
    return DTYPES[name]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolve in float32 where float32 is asked for.

    By default, PyTorch lets NVIDIA GPUs round the factors to TF32, whose 10 bits of mantissa show in 16-bit pictures.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def has_fast_bfloat16() -> bool:
    """Whether this CPU is faster in bfloat16 than in float32: with AMX, or AVX-512 BF16 (AMD since Zen 4)."""
    return has_amx() or _has_extension("avx512_bf16")


def has_matrix_units(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device has matrix units for that dtype; GPUs are assumed to have them."""
    return dtype != torch.float32 and (device.type != "cpu" or has_amx())


def has_amx() -> bool:
    """Whether this CPU has AMX for bfloat16 (Intel since Sapphire Rapids)."""
    return _has_extension("amx_bf16")


def _has_extension(extension: str) -> bool:
    """Whether the CPU has an extension, as far as this version of PyTorch can tell."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(extension))


def free_memory(device: torch.device) -> int | None:
    """Bytes that a computation on the device may still allocate; ``None`` if unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # Memory that PyTorch has reserved but not allocated is free for us.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        gpu = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return max(0, min(gpu, machine.memory().available))
    return machine.memory().available if device.type == "cpu" else None


def reset_peak_memory(device: torch.device) -> int:
    """Start to measure the peak anew, where the system supports that; return the bytes in use now."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    release_freed_memory()  # blocks that the C library keeps would hide what is needed from now on
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
    return psutil.Process().memory_info().rss


def peak_memory(device: torch.device) -> int | None:
    """The most bytes in use since the last reset, or else since the start of the process.

    On a GPU, what PyTorch has allocated; otherwise the resident memory of the process, ``None`` where the system
    doesn't report its peak.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _why_absent(name: str) -> str:
    kind = name.partition(":")[0]
    if kind == "mps":
        return "PyTorch finds no Apple GPU"
    if torch.cuda.is_available():
        return f"the machine has {torch.cuda.device_count()} CUDA devices, numbered from 0"
    if torch.version.cuda is None and torch.version.hip is None:
        return "this build of PyTorch has no CUDA"
    return "PyTorch finds no GPU with a working driver"
