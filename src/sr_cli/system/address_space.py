"""A limit on the address space (``ulimit -v``), which PyTorch may meet by aborting the process. Imports no torch."""

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_LEAST = 46 << 20  # bytes; with less, Python itself fails in many ways, endless loops among them
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
    """Under a limit, have a process try whether PyTorch can be loaded, just before this one does.

    Raises:
        MemoryError: not even ``sr --help`` could run.
    """
    if resource is None or (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) == resource.RLIM_INFINITY:
        return
    if limit < _LEAST:
        raise MemoryError
    sys.meta_path.insert(0, _Check())


class _Check:
    def find_spec(self, fullname: str, *_: object) -> None:
        """Raise `MemoryError` if the address space is too small for what is about to be imported."""
        if fullname not in ("numpy", "torch"):
            return
        sys.meta_path.remove(self)
        import subprocess

        quiet = subprocess.DEVNULL
        if subprocess.run([sys.executable, "-c", _PROBE], stdin=quiet, stdout=quiet, stderr=quiet).returncode:
            raise MemoryError
