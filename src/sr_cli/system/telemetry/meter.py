"""A meter that reads a device in the background while work runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sr_cli.system.telemetry.energy import EnergyReport, Tally
from sr_cli.system.telemetry.probe import device_reader
from sr_cli.system.telemetry.reading import Reading

if TYPE_CHECKING:
    import torch

INTERVAL = 1.0
"""Seconds between two readings."""


class EnergyMeter:
    """Measures the energy of a run: reads the idle device first, then reads it regularly in a background thread.

    Enter it before the network is moved to the device, so that the idle memory is that of an idle device.

    Args:
        interval: seconds between two readings.
        earlier: report of the earlier parts of a resumed run, included in every report.
        read: reads the device, in place of `device_reader`.

    Attributes:
        idle: the reading before the run.
    """

    idle: Reading
    latest: Reading

    def __init__(
        self,
        device: torch.device | str,
        *,
        interval: float = INTERVAL,
        earlier: EnergyReport | None = None,
        read: Callable[[], Reading] | None = None,
    ) -> None:
        self._device, self._interval, self._earlier, self._read = device, interval, earlier, read
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="energy-meter", daemon=True)

    def __enter__(self) -> EnergyMeter:
        # Not in __init__: the first reading of a CPU is the mean since its reader was made.
        self._read = self._read or device_reader(self._device)
        self.idle = self.latest = self._read()
        self._tally = Tally(self.idle, time=time.perf_counter())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._update()

    def report(self) -> EnergyReport:
        """The run until now, or until it ended, with its earlier parts."""
        if not self._stopped.is_set():
            self._update()
        with self._lock:
            report = self._tally.report()
        return self._earlier.plus(report) if self._earlier else report

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval):
            self._update()

    def _update(self) -> None:
        with self._lock:
            assert self._read is not None, "the meter has not been entered"
            self.latest = self._read()
            self._tally.add(self.latest, time=time.perf_counter())
