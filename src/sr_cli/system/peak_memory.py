"""Peak memory of a computation."""

from contextlib import suppress
from pathlib import Path

import psutil
import torch

from sr_cli.system.cpu_tuning import release_freed_memory


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
