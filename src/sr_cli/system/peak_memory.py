"""The most memory in use at once: of the GPU, else of this process."""

import ctypes
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch


def reset_peak_memory(device: torch.device) -> None:
    """Start to look for the peak anew, where that is possible at no cost."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes in use on a GPU since `reset_peak_memory`, else by the process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def watch_peak_memory(device: torch.device) -> Callable[[], int | None]:
    """Watch the memory of what follows, exactly.

    Returns:
        A function that gives the peak since then above the level at the start, in bytes; ``None`` if unknown.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        reset_peak_memory(device)
        level = torch.cuda.memory_allocated(device)

        def gpu_peak() -> int:
            torch.cuda.synchronize(device)
            return peak_memory(device) - level

        return gpu_peak
    with suppress(OSError, AttributeError):
        # Freed memory that the C library keeps would hide what is needed now.
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
    resident: int = psutil.Process().memory_info().rss

    def process_peak() -> int | None:
        with suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 - resident
        return None

    return process_peak
