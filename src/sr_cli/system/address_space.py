"""Limits of memory that PyTorch cannot be loaded under: the process would abort, or be killed. Imports no torch."""

import math
import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_LEAST = 46 << 20  # bytes; with less, Python itself fails in many ways, endless loops among them
_LEAST_IN_GROUP = 380 << 20  # bytes; a control group that may use less has its processes killed
_SPARE = 400 << 20  # bytes, for all but PyTorch itself
_PROBE = f"""
import resource
limit, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (limit - {_SPARE}, hard))
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    torch.ones(1 << 16).exp()
"""


def check_before_imports() -> None:
    """Have the import of PyTorch raise a `MemoryError` where memory is too small for it.

    Under a limit on the address space (``ulimit -v``), another process tries it first.

    Raises:
        MemoryError: not even ``sr --help`` could run.
    """
    if _address_space() < _LEAST:
        raise MemoryError
    sys.meta_path.insert(0, _Check())


def _address_space() -> float:
    """The limit in bytes, infinite if there is none."""
    if resource is None or (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) == resource.RLIM_INFINITY:
        return math.inf
    return limit


class _Check:
    def find_spec(self, fullname: str, *_: object) -> None:
        """Raise `MemoryError` if memory is too small for what is about to be imported."""
        if fullname not in ("numpy", "torch"):
            return
        sys.meta_path.remove(self)
        from sr_cli.system.memory import cgroup_memory

        if min((each.total for each in cgroup_memory()), default=math.inf) < _LEAST_IN_GROUP:
            raise MemoryError
        if _address_space() == math.inf:
            return
        import subprocess

        quiet = subprocess.DEVNULL
        if subprocess.run([sys.executable, "-c", _PROBE], stdin=quiet, stdout=quiet, stderr=quiet).returncode:
            raise MemoryError
