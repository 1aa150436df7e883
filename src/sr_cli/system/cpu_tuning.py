"""CPU settings for inference: how glibc keeps freed memory, and how idle OpenMP threads wait."""

import ctypes
import os
import sys
from typing import Any

from sr_cli.system.memory import cpus

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 192 << 20  # bytes: activations of a network, but not whole pictures


def keep_freed_memory(largest: int = _LARGEST_KEPT) -> None:
    """Make glibc's malloc keep large freed blocks for reuse; other C libraries are left alone.

    By default glibc returns them to the kernel at once, and a network, which allocates and frees at every layer, spends
    a quarter of its time on page faults.

    Args:
        largest: the largest block to keep, in bytes, below 1 GiB; in total, four times as much is kept (at most 2 GiB).

    Source: glibc's mallopt(3).
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, largest)
        mallopt(_M_TRIM_THRESHOLD, min(4 * largest, (1 << 31) - 1))


def release_freed_memory() -> None:
    """Return freed blocks to the kernel. Call before a large allocation, which fragments could not serve.

    Source: glibc's malloc_trim(3).
    """
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def limit_openmp_spin(*, training: bool = False) -> None:
    """Make idle OpenMP threads spin for about 1 ms before they sleep. Call before importing torch.

    Threads that sleep at once wake too late for the next layer, and a small picture takes a third longer; threads that
    spin forever take a core from the codecs. In a training, whose layers are larger, they sleep at once: otherwise a
    busy neighbor halves its speed (`benchmarks/busy.py`). ``OMP_WAIT_POLICY`` in the environment has precedence.

    Source: GCC's libgomp manual, GOMP_SPINCOUNT; other OpenMP runtimes read OMP_WAIT_POLICY.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "0" if training else "20000")


def limit_openmp_threads() -> None:
    """Use no more threads than the CPUs that this process may keep busy. Call before importing torch.

    OpenMP follows the affinity, but not a container's CPU quota; the threads beyond it would be stopped in the middle
    of a layer, and all others wait for them. ``OMP_NUM_THREADS`` in the environment has precedence.
    """
    allowed = cpus()
    if allowed < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(allowed))


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
