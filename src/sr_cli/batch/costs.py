"""What a picture costs: memory and energy."""

import resource
import sys
import time

import torch

from sr_cli.telemetry import Reading, joules_between
from sr_cli.telemetry.energy import trapezoid
from sr_cli.telemetry.probe import probe


def reset_peak_memory(device: torch.device) -> None:
    """Begin to look for the peak anew, where that is possible."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes that PyTorch has had of a GPU, or the process of the machine's memory since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class EnergyReader:
    """Reads how much energy a device has consumed, where it tells."""

    def __init__(self, device: torch.device) -> None:
        self._probe = probe(device)

    def read(self) -> tuple[Reading, float]:
        """The device now, and the time."""
        return self._probe(), time.perf_counter()

    def since(self, before: tuple[Reading, float]) -> float | None:
        """Joules since then; ``None`` where the device doesn't tell."""
        earlier, began = before
        now, time_now = self.read()
        joules = joules_between(earlier.counters, now.counters)
        return trapezoid(earlier.power, now.power, time_now - began) if joules is None else joules
