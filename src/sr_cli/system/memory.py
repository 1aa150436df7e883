"""The CPU and the memory that this process may use. Imports no torch."""

import math
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 1 << 60
"""Bytes above which a cgroup limit means no limit (cgroup v1 writes 2**63 rounded to pages)."""


_UNIFIED = "memory.max", "memory.current", "inactive_file"
_BY_CONTROLLER = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
"""The names of limit, usage and reclaimable cache in cgroup version 2 and version 1."""


@dataclass(frozen=True)
class Memory:
    """Bytes of memory, in total and available now."""

    total: int
    available: int


def memory() -> Memory:
    """The memory of the machine, or of the process's control group if that is less."""
    import psutil

    machine = psutil.virtual_memory()
    bounds = [Memory(machine.total, machine.available), *cgroup_memory()]
    return Memory(min(bound.total for bound in bounds), min(bound.available for bound in bounds))


def cgroup_memory(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[Memory]:
    """The memory limits of the process's control group and of its ancestors, as far as any are set.

    Reclaimable page cache (``inactive_file``) counts as available.

    Args:
        membership: the ``cgroup`` file of the process, version 1 or 2.
        root: mount point of the control groups.

    Source: the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    for folder, is_unified in _groups("memory", membership, root):
        limit, usage, reclaimable = _UNIFIED if is_unified else _BY_CONTROLLER
        total = _number(folder / limit)
        used = _number(folder / usage)
        if total is None or used is None or total >= UNLIMITED:
            continue
        cache = _number(folder / "memory.stat", f"{reclaimable} ") or 0
        yield Memory(total, min(total, max(0, total - used + cache)))


@contextmanager
def growth_limited(to: int) -> Iterator[None]:
    """Let allocations fail, in all threads, that would make the address space grow by more bytes. Linux only."""
    if sys.platform != "linux":
        yield
        return
    import resource

    import psutil

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + to
    resource.setrlimit(resource.RLIMIT_AS, (limit if soft == resource.RLIM_INFINITY else min(limit, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def cpus(membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """How many CPUs this process may keep busy: its affinity, or less by the CPU quota of its control groups.

    Source: the kernel's admin-guide/cgroup-v2.rst (``cpu.max``) and scheduler/sched-bwc.rst.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder, is_unified in _groups("cpu", membership, root):
        try:
            if is_unified:
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:
                usable = min(usable, math.ceil(int(quota) / int(period)))
        except (OSError, ValueError):  # no such group here; "max" is no limit
            continue
    return usable


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's model name if the kernel reports it, else its architecture."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields = (line.partition(":") for line in lines)
    names = (value.strip() for key, _, value in fields if key.strip() in ("model name", "Model"))
    return next((name for name in names if name), None) or platform.processor() or platform.machine()


def _groups(controller: str, membership: Path, root: Path) -> Iterator[tuple[Path, bool]]:
    """The folder of each control group, innermost first, and whether it is of version 2."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        is_unified = controllers == ""
        if not is_unified and controller not in controllers.split(","):
            continue
        # In a container this may be the path on the host; folders that are missing here are skipped by the caller.
        inner = Path(path.lstrip("/"))
        for mount in [root, root / "unified"] if is_unified else [root / controller]:
            for folder in [inner, *inner.parents]:
                yield mount / folder, is_unified


def _number(path: Path, before: str = "") -> int | None:
    """The number on a line that begins so; ``None`` if there is none, as cgroup v2 writes "max" for no limit."""
    try:
        found = re.search(rf"^{before}(\d+)$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
