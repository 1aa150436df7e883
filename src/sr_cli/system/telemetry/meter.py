"""A meter that runs beside the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from sr_cli.system.telemetry.energy import EnergyReport, Tally
from sr_cli.system.telemetry.probe import probe
from sr_cli.system.telemetry.reading import Reading

if TYPE_CHECKING:
    import torch

INTERVAL = 1.0
"""Seconds between two readings."""


class EnergyMeter:
    """Measures what a run consumes: the idle device first, then readings in a background thread.

    ::

        with EnergyMeter(device, earlier=state.energy) as meter:
            for step in train(...):
                show(step, meter.latest)
        print(meter.report().watt_hours)

    Start it before the network is on the device, or the idle memory isn't idle.

    Attributes:
        idle: the reading before the run.
        latest: the last reading.
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
        """Make a meter.

        Args:
            interval: seconds between two readings.
            earlier: what the earlier parts of a resumed run consumed: it is added to every report.
            read: how to read the device, if not by its own probe.
        """
        self._device = device
        self._read = read
        self._interval = interval
        self._earlier = earlier
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="energy-meter", daemon=True)

    def __enter__(self) -> EnergyMeter:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever has happened; `report` goes on answering."""
        self.stop()

    def start(self) -> Reading:
        """Read the idle device, and begin to watch it."""
        # The probe is made now and not before, as a CPU's reading is the mean since the probe was made.
        self._read = self._read or probe(self._device)
        self.idle = self.latest = self._read()
        self._tally = Tally(self.idle, time=time.perf_counter())
        self._thread.start()
        return self.idle

    def stop(self) -> EnergyReport:
        """Take a last reading and end. A second call changes nothing."""
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
            self._take()
        return self.report()

    def report(self) -> EnergyReport:
        """What the run has consumed until now, or until it ended, its earlier parts included."""
        if not self._over.is_set():
            self._take()
        with self._lock:
            report = self._tally.report()
        return report if self._earlier is None else self._earlier.plus(report)

    def _watch(self) -> None:
        while not self._over.wait(self._interval):
            self._take()

    def _take(self) -> None:
        with self._lock:
            assert self._read is not None, "the meter has not been started"
            self.latest = self._read()
            self._tally.add(self.latest, time=time.perf_counter())
