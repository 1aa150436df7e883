"""How much energy a picture takes."""

import time

import torch

from sr_cli.system.telemetry import Reading, joules_between
from sr_cli.system.telemetry.energy import trapezoid
from sr_cli.system.telemetry.probe import probe


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
