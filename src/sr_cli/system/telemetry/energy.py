"""The arithmetic of energy: readings in, watt-hours out. Nothing here touches hardware."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from sr_cli.system.telemetry.reading import Reading, joules_between

T = TypeVar("T", int, float)

BY_COUNTER = "energy counter"
BY_POWER = "power over time"


@dataclass(frozen=True, kw_only=True)
class EnergyReport:
    """What a run has consumed. All its values are plain, so ``EnergyReport(**dataclasses.asdict(report))`` is the same.

    Attributes:
        device: the device's name.
        seconds: how long the run took.
        idle_watts, idle_memory: the reading before the run; watts and bytes.
        mean_watts, peak_watts: during the run; the peak is the highest reading, so short spikes escape it.
        mean_memory, peak_memory: bytes, during the run.
        mean_utilization: 0 to 1.
        watt_hours: energy; ``None`` where the device doesn't tell, never 0.
        measured_seconds: the part of ``seconds`` that ``watt_hours`` covers.
        method: how it was measured: `BY_COUNTER`, `BY_POWER`, both, or ``None``.
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
        """Grams of CO2 equivalent, at so many grams per kilowatt-hour of electricity; ``None`` if unmeasured."""
        if not (math.isfinite(g_per_kwh) and g_per_kwh >= 0):
            raise ValueError(f"carbon intensity {g_per_kwh} is not a number of grams per kWh")
        return None if self.watt_hours is None else self.watt_hours / 1000 * g_per_kwh

    def plus(self, later: EnergyReport) -> EnergyReport:
        """This part of a run and a later one, as one: energy adds up, means are weighted by time."""
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


class Tally:
    """Readings as they come, summed up.

    Each reading stands for the time since the one before; power is integrated between the two by the trapezoid rule,
    unless energy counters tell exactly. A reading without either is bridged by the next that has one.
    """

    def __init__(self, idle: Reading, *, time: float) -> None:
        """Begin with the reading before the run, taken at ``time`` (seconds of a monotonic clock)."""
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
        """Take in a reading during the run."""
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
        if joules is None:
            joules, method = trapezoid(self._anchor.power, reading.power, seconds), BY_POWER
        if joules is not None and seconds > 0:
            self._joules += joules
            self._measured += seconds
            self._methods.add(method)
        self._anchor, self._anchor_time = reading, time


def trapezoid(before: float | None, after: float | None, seconds: float) -> float | None:
    """Joules between two readings in watts; ``None`` if one of them is missing."""
    return None if before is None or after is None else (before + after) / 2 * seconds


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
    """Two descriptions as one that names each thing once."""
    names = dict.fromkeys(name for text in (a, b) if text for name in text.split(" and "))
    return " and ".join(names) or None
