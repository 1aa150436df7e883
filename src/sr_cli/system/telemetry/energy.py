"""Arithmetic of energy: readings in, watt-hours out, without touching hardware."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from sr_cli.system.quantities import UNAVAILABLE, megabytes, percent, quantity, watts
from sr_cli.system.telemetry.reading import Reading, joules_between

T = TypeVar("T", int, float)

BY_COUNTER = "energy counter"
BY_POWER = "power over time"


@dataclass(frozen=True, kw_only=True)
class EnergyReport:
    """The energy, power and memory of a run. All fields are plain values, so `dataclasses.asdict` loses nothing.

    Attributes:
        seconds: duration of the run.
        idle_watts, idle_memory: before the run; watts and bytes.
        mean_watts, peak_watts: during the run; the peak is the highest reading, so it misses short spikes.
        mean_memory, peak_memory: during the run; bytes.
        mean_utilization: in [0, 1].
        watt_hours: energy; ``None`` if the device does not report it, never 0.
        measured_seconds: the part of ``seconds`` that ``watt_hours`` covers.
        method: of measuring: `BY_COUNTER`, `BY_POWER`, both joined by "and", or ``None``.
    """

    device: str
    seconds: float
    idle_watts: float | None = None
    mean_watts: float | None = None
    peak_watts: float | None = None
    idle_memory: int | None = None
    mean_memory: int | None = None
    peak_memory: int | None = None
    mean_utilization: float | None = None
    watt_hours: float | None = None
    measured_seconds: float = 0.0
    method: str | None = None

    def grams_co2e(self, g_per_kwh: float) -> float | None:
        """Grams of CO2 equivalent, from the carbon intensity of the electricity; ``None`` if unmeasured."""
        if not (math.isfinite(g_per_kwh) and g_per_kwh >= 0):
            raise ValueError(f"invalid carbon intensity {g_per_kwh}: expected grams per kWh")
        return None if self.watt_hours is None else self.watt_hours / 1000 * g_per_kwh

    def rows(self, *, epochs: float | None = None, g_per_kwh: float | None = None) -> list[tuple[str, str]]:
        """The report as labels and text, with units; what was not measured is ``unavailable``, never 0.

        Args:
            epochs: number of epochs that the energy was spent on; without it there is no row per epoch.
            g_per_kwh: carbon intensity of the electricity; without it there is no row of CO2e.
        """
        rows = [
            ("device", self.device),
            ("before", f"power {watts(self.idle_watts)}, memory {megabytes(self.idle_memory)}"),
            ("mean", f"power {watts(self.mean_watts)}, memory {megabytes(self.mean_memory)}"),
            ("peak", f"power {watts(self.peak_watts)}, memory {megabytes(self.peak_memory)}"),
            ("utilization", percent(self.mean_utilization)),
            ("energy", self._energy()),
        ]
        if epochs and math.isfinite(epochs):
            per_epoch = None if self.watt_hours is None else self.watt_hours / epochs
            rows.append(("energy per epoch", quantity(per_epoch, "Wh")))
        if g_per_kwh is not None:
            rows.append(("CO2e", f"{quantity(self.grams_co2e(g_per_kwh), 'g')} at {g_per_kwh:g} g/kWh"))
        return rows

    def _energy(self) -> str:
        if self.watt_hours is None:
            return UNAVAILABLE
        covered = self.measured_seconds / self.seconds
        gaps = "" if covered > 0.995 else f", measured for {covered:.0%} of it"
        time = timedelta(seconds=round(self.seconds))
        return f"{quantity(self.watt_hours, 'Wh')} in {time} ({self.method}{gaps})"

    def plus(self, later: EnergyReport) -> EnergyReport:
        """Join this part of a run and a later one: energy adds up, means are weighted by time."""
        watt_hours = _sum(self.watt_hours, later.watt_hours)
        measured = self.measured_seconds + later.measured_seconds
        memory = _mean((self.mean_memory, self.seconds), (later.mean_memory, later.seconds))
        return EnergyReport(
            device=_both(self.device, later.device) or "",
            seconds=self.seconds + later.seconds,
            idle_watts=later.idle_watts if self.idle_watts is None else self.idle_watts,
            mean_watts=watt_hours * 3600 / measured if watt_hours is not None and measured else None,
            peak_watts=_max(self.peak_watts, later.peak_watts),
            idle_memory=later.idle_memory if self.idle_memory is None else self.idle_memory,
            mean_memory=None if memory is None else round(memory),
            peak_memory=_max(self.peak_memory, later.peak_memory),
            mean_utilization=_mean((self.mean_utilization, self.seconds), (later.mean_utilization, later.seconds)),
            watt_hours=watt_hours,
            measured_seconds=measured,
            method=_both(self.method, later.method),
        )


def in_parallel(reports: Sequence[EnergyReport]) -> EnergyReport:
    """The consumption of devices that ran side by side, as one: energy and power add up, utilization is the mean."""
    if len(reports) == 1:
        return reports[0]

    def total(name: str) -> Any:
        values = [getattr(report, name) for report in reports]
        return None if None in values else sum(values)

    added = ("idle_watts", "mean_watts", "peak_watts", "idle_memory", "mean_memory", "peak_memory", "watt_hours")
    return replace(
        reports[0],
        device=f"{len(reports)} × {reports[0].device}",
        seconds=max(report.seconds for report in reports),
        measured_seconds=min(report.measured_seconds for report in reports),
        mean_utilization=_mean(*((report.mean_utilization, 1.0) for report in reports)),
        **{name: total(name) for name in added},
    )


class Tally:
    """Sums up readings as they come.

    A reading stands for the time since the one before. Energy counters are preferred; without them power is integrated
    by the trapezoid rule. A reading with neither is bridged by the next one that has either.
    """

    def __init__(self, idle: Reading, *, time: float) -> None:
        """Start with the reading before the run, taken at ``time`` (seconds of a monotonic clock)."""
        self._idle = idle
        self._start = self._last = self._anchor_time = time
        self._anchor = idle
        self._joules = self._measured = 0.0
        self._methods: set[str] = set()
        self._peak_watts: float | None = None
        self._peak_memory: int | None = None
        self._memory = _WeightedMean()
        self._utilization = _WeightedMean()

    def add(self, reading: Reading, *, time: float) -> None:
        """Add a reading taken during the run."""
        self._memory.add(reading.memory_used, time - self._last)
        self._utilization.add(reading.utilization, time - self._last)
        self._peak_memory = _max(self._peak_memory, reading.memory_used)
        self._peak_watts = _max(self._peak_watts, reading.power)
        self._last = time
        if reading.counters or reading.power is not None:
            self._integrate(reading, time)

    def report(self) -> EnergyReport:
        """The run so far."""
        mean_watts = self._joules / self._measured if self._measured else None
        memory = self._memory.value
        return EnergyReport(
            device=self._idle.name,
            seconds=self._last - self._start,
            idle_watts=self._idle.power,
            mean_watts=mean_watts,
            peak_watts=mean_watts if self._peak_watts is None else self._peak_watts,
            idle_memory=self._idle.memory_used,
            mean_memory=None if memory is None else round(memory),
            peak_memory=self._peak_memory,
            mean_utilization=self._utilization.value,
            watt_hours=self._joules / 3600 if self._measured else None,
            measured_seconds=self._measured,
            method=" and ".join(sorted(self._methods)) or None,
        )

    def _integrate(self, reading: Reading, time: float) -> None:
        seconds = time - self._anchor_time
        joules = joules_between(self._anchor.counters, reading.counters)
        method = BY_COUNTER
        if joules is None and self._anchor.power is not None and reading.power is not None:
            joules, method = (self._anchor.power + reading.power) / 2 * seconds, BY_POWER
        if joules is not None and seconds > 0:
            self._joules += joules
            self._measured += seconds
            self._methods.add(method)
        self._anchor, self._anchor_time = reading, time


class _WeightedMean:
    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, value: float | None, weight: float) -> None:
        if value is not None:
            self._sum += value * weight
            self._weight += weight

    @property
    def value(self) -> float | None:
        return self._sum / self._weight if self._weight else None


def _sum(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else a + b


def _max(a: T | None, b: T | None) -> T | None:
    return b if a is None else a if b is None else max(a, b)


def _mean(*parts: tuple[float | None, float]) -> float | None:
    mean = _WeightedMean()
    for value, weight in parts:
        mean.add(value, weight)
    return mean.value


def _both(a: str | None, b: str | None) -> str | None:
    """Join two descriptions without naming anything twice."""
    names = dict.fromkeys(name for text in (a, b) if text for name in text.split(" and "))
    return " and ".join(names) or None
