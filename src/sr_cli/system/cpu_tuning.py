"""CPU settings for inference: how OpenMP threads wait, and how glibc keeps freed memory."""

import ctypes
import os
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 192 << 20
"""Blocks up to so many bytes are kept: what passes between the layers of a network, but not whole pictures."""


def keep_freed_memory(kept: int = _KEPT) -> None:
    """Let this process keep large blocks that it frees, so that the next ones need not be brought in page by page.

    By default glibc gives each large block back to the kernel at once. A network frees and takes some at every layer,
    and spends a quarter of its time on page faults. Does nothing where the C library isn't glibc.

    Args:
        kept: blocks up to so many bytes, and four times as much in all (2 GiB at most), are kept; it is below 1 GiB.

    Source: glibc's mallopt(3).
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, kept)
        mallopt(_M_TRIM_THRESHOLD, min(4 * kept, (1 << 31) - 1))


def release_freed_memory() -> None:
    """Give freed blocks back after all, before something large is done next: memory in pieces adds up.

    Source: glibc's malloc_trim(3).
    """
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None


_SPINS = "20000"


def limit_openmp_spin() -> None:
    """Let threads that have nothing to do look out for more for a millisecond, then sleep. Call it before torch comes.

    A thread that sleeps at once is late for the next layer, by a third of the time that a small picture takes; one
    that never sleeps keeps a core from the codecs. What the environment says already goes before.

    Source: GCC's libgomp manual, GOMP_SPINCOUNT; other runtimes of OpenMP read OMP_WAIT_POLICY.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
