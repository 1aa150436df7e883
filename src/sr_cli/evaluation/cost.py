"""What upscaling costs: parameters, multiply-adds, time, memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sr_cli.evaluation.methods import Method
from sr_cli.evaluation.result import Cost
from sr_cli.imageops import dihedral
from sr_cli.system.device import peak_memory, reset_peak_memory

_COUNTED_SIDE = 64  # LR pixels of the square that multiply-adds are counted on


class CostMeter:
    """Measures one method at work."""

    def __init__(self, method: Method) -> None:
        self._kind, self._device = method.kind, torch.device("cpu")
        self._parameters = self._multiply_adds = None
        if upscaler := method.upscaler:
            self._device = upscaler.device
            self._parameters = sum(parameter.numel() for parameter in upscaler.network.parameters()) or None
            runs = dihedral.COUNT if upscaler.runner.ensemble else 1
            # Other projects' networks may refuse the small square, or not be PyTorch's.
            with suppress(RuntimeError, StopIteration):
                self._multiply_adds = runs * multiply_adds(upscaler.network, scale=upscaler.scale)
        self._seconds: list[float] = []
        self._peaks: list[float] = []

    @contextmanager
    def watching(self, *, pixels: int) -> Iterator[None]:
        """Measure time and memory of the block, which makes that many pixels of output."""
        before = reset_peak_memory(self._device)
        began = time.perf_counter()
        yield
        self._seconds.append((time.perf_counter() - began) / pixels * 1e6)
        if (peak := peak_memory(self._device)) is not None:
            self._peaks.append((peak - before) / 1e6)

    def cost(self) -> Cost:
        """Time is the median over the pictures, as the first one is slow; memory is the maximum."""
        if self._kind == "folder" or not self._seconds:
            return Cost()  # reading another tool's file says nothing about the cost of that tool
        return Cost(
            parameters=self._parameters,
            multiply_adds=self._multiply_adds,
            seconds=median(self._seconds),
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
