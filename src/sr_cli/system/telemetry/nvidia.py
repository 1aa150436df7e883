"""Readings of NVIDIA GPUs from the management library (NVML). Without a driver there are none, and no error."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

from sr_cli.system.telemetry.reading import EnergyCounter, Reading

T = TypeVar("T")


@cache
def _library() -> tuple[Any, str]:
    """NVML, initialized, and the driver's version; or ``None`` and the reason."""
    try:
        import pynvml
    except ImportError:
        return None, "the package nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError_LibraryNotFound:
        return None, "there is no NVIDIA driver on this machine"
    except pynvml.NVMLError as error:
        return None, f"the NVIDIA driver does not answer ({error})"


def absence() -> str | None:
    """Why no NVIDIA GPU can be read, as part of a sentence; ``None`` if one can."""
    nvml, reason = _library()
    if nvml is None:
        return reason
    return None if _ask(nvml.nvmlDeviceGetCount) else "the NVIDIA driver sees no GPU"


def gpus() -> list[Reading]:
    """Readings of all NVIDIA GPUs that the driver sees, whether or not PyTorch can use them."""
    nvml, _ = _library()
    if nvml is None:
        return []
    handles = [_ask(partial(nvml.nvmlDeviceGetHandleByIndex, i)) for i in range(_ask(nvml.nvmlDeviceGetCount) or 0)]
    return [read(handle) for handle in handles if handle is not None]


def handle(uuid: str) -> Any | None:
    """NVML's handle of a GPU, if it knows the GPU.

    Args:
        uuid: as PyTorch writes it (without ``GPU-``). An index would not do: NVML orders all GPUs by bus address,
            while ``CUDA_VISIBLE_DEVICES`` hides and reorders PyTorch's.
    """
    nvml, _ = _library()
    return None if nvml is None else _ask(lambda: nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))


def read(handle: Any) -> Reading:
    """The state of a GPU now. Figures that it does not report are ``None``."""
    nvml, driver = _library()
    utilization = _ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    # Version 2 excludes the driver's own memory, as nvidia-smi does; older drivers have only version 1.
    memory = _ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)) or _ask(
        lambda: nvml.nvmlDeviceGetMemoryInfo(handle)
    )
    milliwatts = _ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    millijoules = _ask(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    temperature = _ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
    return Reading(
        name=_ask(lambda: nvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU",
        utilization=None if utilization is None else utilization / 100,
        memory_used=None if memory is None else memory.used,
        memory_total=None if memory is None else memory.total,
        power=milliwatts / 1000 if milliwatts else None,
        temperature=temperature,
        driver=driver,
        counters=(EnergyCounter(millijoules / 1000),) if millijoules else (),
    )


def memory_of_process(handle: Any, pid: int) -> int | None:
    """Bytes of a GPU that a process takes, its CUDA context included; ``None`` if NVML doesn't list the process."""
    nvml, _ = _library()
    processes = _ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    return next((process.usedGpuMemory for process in processes if process.pid == pid), None)


def _ask(question: Callable[[], T]) -> T | None:
    nvml, _ = _library()
    try:
        return question()
    except (nvml.NVMLError, AttributeError):  # AttributeError: some versions of the bindings lack some calls
        return None
