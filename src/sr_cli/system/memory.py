"""The CPU and the memory that this process may use. Imports no torch."""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

UNLIMITED = 1 << 60
"""Bytes above which a cgroup limit means no limit (cgroup v1 writes 2**63 rounded to pages)."""


@dataclass(frozen=True)
class Memory:
    """Bytes of memory, in total and available now."""

    total: int
    available: int


def memory() -> Memory:
    """The memory of the machine, or of the process's control group if that is less."""
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
    for folder, limit, usage, reclaimable in _memory_groups(membership, root):
        total = _number(folder / limit)
        used = _number(folder / usage)
        if total is None or used is None or total >= UNLIMITED:
            continue
        cache = _statistics(folder / "memory.stat").get(reclaimable, 0)
        yield Memory(total, min(total, max(0, total - used + cache)))


@contextmanager
def growth_limited(to: int) -> Iterator[None]:
    """Let allocations fail, in all threads, that would make the process's address space grow by more. Linux only.

    Args:
        to: bytes.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + to
    resource.setrlimit(resource.RLIMIT_AS, (limit if soft == resource.RLIM_INFINITY else min(limit, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's model name if the kernel reports it, else its architecture."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields = (line.partition(":") for line in lines)
    names = (value.strip() for key, _, value in fields if key.strip() in ("model name", "Model"))
    return next((name for name in names if name), None) or platform.processor() or platform.machine()


def _memory_groups(membership: Path, root: Path) -> Iterator[tuple[Path, str, str, str]]:
    """The folder of each control group, innermost first, with the names of its limit, usage and reclaimable cache."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounts, names = [root, root / "unified"], ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mounts = [root / "memory"]
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container this may be the path on the host; folders that are missing here are skipped by the caller.
        inner = Path(path.lstrip("/"))
        for mount in mounts:
            for folder in [inner, *inner.parents]:
                yield (mount / folder, *names)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # cgroup v2 writes "max" for no limit
        return None


def _statistics(path: Path) -> dict[str, int]:
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
        return {name: int(value) for name, value in pairs}
    except (OSError, ValueError):
        return {}
