"""The choice of device and dtype, and how much memory there is to work in."""

import re

import torch

from sr_cli.errors import DeviceError
from sr_cli.system import memory as machine

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def available() -> list[str]:
    """The names of the devices that PyTorch can compute on here, the fastest first; ``cpu`` is always the last."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def choose(name: str = "auto") -> torch.device:
    """The device of that name.

    Args:
        name: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda`` (the first one), ``cuda:N`` or ``mps``.

    Raises:
        DeviceError: the device is absent, or there is no such name.
    """
    here = available()
    if name == "auto":
        return torch.device(here[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise DeviceError(f"{name!r} is no device; choose auto, cpu, cuda, cuda:N or mps (here: {', '.join(here)})")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in here:
        raise DeviceError(f"{name}: {_why_absent(wanted)}; choose auto, or one of {', '.join(here)}")
    return torch.device(wanted)


def name_of(device: torch.device) -> str:
    """What the device is called by its maker."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else machine.cpu_name()


def dtype_for(device: torch.device, name: str = "auto", *, bfloat16: bool = True) -> torch.dtype:
    """The dtype to run a network in.

    Args:
        name: ``float32``, ``float16``, ``bfloat16``, or ``auto``: float16 on CUDA GPUs with fast half precision
            (compute capability 7.0 and above), bfloat16 on CPUs that multiply it faster than float32, and
            float32 on everything else.
        bfloat16: whether ``auto`` may choose bfloat16, see `sr_cli.networks.base.Network.tolerates_bfloat16`.

    Raises:
        DeviceError: the device has no such dtype.
        ValueError: no dtype has that name.
    """
    if name == "auto":
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0):
            return torch.float16
        if device.type == "cpu" and bfloat16 and multiplies_bfloat16():
            return torch.bfloat16
        return torch.float32
    if name not in DTYPES:
        raise ValueError(f"{name!r} is no dtype; choose auto, {', '.join(DTYPES)}")
    if name == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(f"{device} cannot compute in bfloat16; choose float16 or float32")
    return DTYPES[name]


def multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32: by AMX, or AVX-512 with BF16 (AMD's since Zen 4)."""
    return has_amx() or _capable_of("avx512_bf16")


def has_matrix_units(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device multiplies matrices of that dtype in units made for them; of GPUs it is supposed."""
    return dtype != torch.float32 and (device.type != "cpu" or has_amx())


def has_amx() -> bool:
    """Whether this CPU has units for matrices of bfloat16, as Intel's since Sapphire Rapids."""
    return _capable_of("amx_bf16")


def _capable_of(extension: str) -> bool:
    """Whether the CPU has an extension; an old PyTorch can't tell."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(extension))


def free_memory(device: torch.device) -> int | None:
    """Bytes that a computation on the device may still take; ``None`` where nobody can tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch has taken and doesn't use at the moment is free to us, though not to others.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        own = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return max(0, min(own, machine.memory().available))
    return machine.memory().available if device.type == "cpu" else None


def _why_absent(name: str) -> str:
    kind = name.partition(":")[0]
    if kind == "mps":
        return "this machine has no Apple GPU that PyTorch can use"
    if torch.cuda.is_available():
        return f"there are only {torch.cuda.device_count()} CUDA devices, counted from 0"
    if torch.version.cuda is None and torch.version.hip is None:
        return "this PyTorch is built without CUDA"
    return "PyTorch finds no GPU with a working driver"
