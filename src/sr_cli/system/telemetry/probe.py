"""How to read each kind of device."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import psutil

from sr_cli.system.memory import cpu_name, memory
from sr_cli.system.telemetry import nvidia, rapl
from sr_cli.system.telemetry.reading import EnergyCounter, Reading, joules_between

if TYPE_CHECKING:
    import torch

SHORTEST = 0.1
"""Seconds that a CPU's utilization and power are averaged over, at least: the kernel counts time in steps of 10 ms."""

CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal")


def device_reader(device: torch.device | str) -> Callable[[], Reading]:
    """A function that reads the device. The one of a CPU takes 0.1 s to make, as it averages over time."""
    kind, _, index = str(device).partition(":")
    if kind == "cuda":
        return _cuda_probe(int(index or 0))
    return _read_mps if kind == "mps" else CpuProbe()


class Moment(NamedTuple):
    """The kernel's counters at ``time``: seconds that the CPUs were busy, seconds in total, and energy."""

    time: float
    busy: float
    total: float
    counters: tuple[EnergyCounter, ...] = ()


def averages(before: Moment, after: Moment) -> tuple[float | None, float | None]:
    """The CPU's mean utilization in [0, 1] and power in watts between two moments; ``None`` if unknown."""
    total = after.total - before.total
    joules = joules_between(before.counters, after.counters)
    # Linux may revise its count of idle time downwards.
    utilization = min(1.0, max(0.0, (after.busy - before.busy) / total)) if total > 0 else None
    return utilization, None if joules is None else joules / (after.time - before.time)


class CpuProbe:
    """Reads the CPU. Utilization and power are means since the last reading."""

    def __init__(self) -> None:
        self._name = cpu_name()
        self._process = psutil.Process(os.getpid())
        self._before = _moment()
        self._utilization: float | None = None
        self._power: float | None = None
        time.sleep(SHORTEST)

    def __call__(self) -> Reading:
        now = _moment()
        if now.time - self._before.time >= SHORTEST:
            self._utilization, self._power = averages(self._before, now)
            self._before = now
        return Reading(
            name=self._name,
            utilization=self._utilization,
            memory_used=self._process.memory_info().rss,
            memory_total=memory().total,
            power=self._power,
            temperature=_cpu_temperature(),
            counters=now.counters,
        )


def _moment() -> Moment:
    times = psutil.cpu_times()._asdict()
    # Linux already counts guest time as user time.
    total = sum(seconds for state, seconds in times.items() if not state.startswith("guest"))
    busy = total - times["idle"] - times.get("iowait", 0.0)
    return Moment(time.perf_counter(), busy, total, rapl.counters())


def _cpu_temperature() -> float | None:
    """Degrees Celsius at the hottest sensor."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    chips = psutil.sensors_temperatures()
    known = [sensor.current for chip in CPU_SENSORS for sensor in chips.get(chip, ())]
    return max(known, default=None)


def _cuda_probe(index: int) -> Callable[[], Reading]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    handle = nvidia.handle(str(properties.uuid))

    def read() -> Reading:
        # NVML doesn't know every GPU (AMD's, or a slice of one), nor in every container the process.
        if handle is None:
            reading, known = Reading(properties.name, memory_total=properties.total_memory), None
        else:
            reading, known = nvidia.read(handle), nvidia.memory_of_process(handle, os.getpid())
        return replace(reading, memory_used=torch.cuda.memory_reserved(index) if known is None else known)

    return read


def _read_mps() -> Reading:
    import torch

    return Reading(
        cpu_name(), memory_used=torch.mps.driver_allocated_memory(), memory_total=torch.mps.recommended_max_memory()
    )
