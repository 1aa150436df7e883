"""What upscaling costs: parameters, multiply-adds, time, memory."""

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sr_cli.evaluation.result import Cost

_COUNTED_SIDE = 64  # LR pixels of the square that multiply-adds are counted on


class CostMeter:
    """Measures one method at work.

    Args:
        device: where it computes.
        network: its network, if it has one, and the network's ``scale``.
        runs: how often the network runs per picture.
    """

    def __init__(
        self, device: torch.device, *, network: nn.Module | None = None, scale: int = 1, runs: int = 1
    ) -> None:
        self.device = device
        self._parameters = sum(p.numel() for p in network.parameters()) if network else None
        self._multiply_adds: float | None = None
        if network:
            with suppress(RuntimeError):  # other projects' networks may refuse the small square
                self._multiply_adds = runs * multiply_adds(network, scale=scale)
        self._seconds: list[float] = []
        self._peaks: list[float] = []

    @contextmanager
    def watching(self, *, pixels: int) -> Iterator[None]:
        """Measure time and memory of the block, which makes that many pixels of output."""
        before = _begin(self.device)
        began = time.perf_counter()
        yield
        self._seconds.append((time.perf_counter() - began) / pixels * 1e6)
        if (peak := _peak(self.device)) is not None:
            self._peaks.append((peak - before) / 1e6)

    def cost(self) -> Cost:
        """Time is the median over the pictures, as the first one is slow; memory is the maximum."""
        return Cost(
            parameters=self._parameters,
            multiply_adds=self._multiply_adds,
            seconds=median(self._seconds) if self._seconds else None,
            peak_memory=max(self._peaks, default=None),
        )


def multiply_adds(network: nn.Module, *, scale: int) -> float:
    """Multiply-adds of the network's convolutions and matrix products, in 10⁹ per megapixel of output.

    Counted on a small square, without what tiles compute twice.
    """
    parameter = next(network.parameters())
    lr = torch.zeros(1, 3, _COUNTED_SIDE, _COUNTED_SIDE, dtype=parameter.dtype, device=parameter.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(lr)
    flops: int = counter.get_total_flops()
    return flops / 2 / (scale * _COUNTED_SIDE) ** 2 * 1e6 / 1e9


def _begin(device: torch.device) -> int:
    """Start to watch the peak; return the bytes in use now."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, AttributeError):
        # Freed memory that the C library keeps would hide what the next picture needs.
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
    return psutil.Process().memory_info().rss


def _peak(device: torch.device) -> int | None:
    """The most bytes in use since `_begin`; ``None`` if the system doesn't say."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
