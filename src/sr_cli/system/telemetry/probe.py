"""Reading a device: what to ask for each kind of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import psutil

from sr_cli.system import memory as machine
from sr_cli.system.telemetry import nvidia, rapl
from sr_cli.system.telemetry.reading import EnergyCounter, Reading, joules_between

if TYPE_CHECKING:
    import torch

SHORTEST = 0.1
"""Seconds over which a CPU's utilization and power are averaged at least: the kernel counts time in steps of 10 ms."""

CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal")


def sample(device: torch.device | str) -> Reading:
    """The device now. The first call on a CPU takes a tenth of a second; later ones tell about the time since."""
    return _probe_of(str(device))()


def probe(device: torch.device | str) -> Callable[[], Reading]:
    """A function that reads the device."""
    kind, _, index = str(device).partition(":")
    if kind == "cuda":
        return _cuda(int(index or 0))
    return _read_mps if kind == "mps" else CpuProbe()


@cache
def _probe_of(device: str) -> Callable[[], Reading]:
    return probe(device)


class Moment(NamedTuple):
    """What the kernel has counted until ``time``: seconds that CPUs were busy, seconds in all, and energy."""

    time: float
    busy: float
    total: float
    counters: tuple[EnergyCounter, ...] = ()


def averages(before: Moment, after: Moment) -> tuple[float | None, float | None]:
    """The CPU's utilization (0 to 1) and power (watts) between two moments; ``None`` for what cannot be told."""
    total = after.total - before.total
    joules = joules_between(before.counters, after.counters)
    # Linux may take back a little of the time that it counted as idle.
    utilization = min(1.0, max(0.0, (after.busy - before.busy) / total)) if total > 0 else None
    return utilization, None if joules is None else joules / (after.time - before.time)


class CpuProbe:
    """Reads the CPU. Utilization and power are averages since the reading before."""

    def __init__(self) -> None:
        self._name = machine.cpu_name()
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
            memory_total=machine.memory().total,
            power=self._power,
            temperature=_cpu_temperature(),
            counters=now.counters,
        )


def _moment() -> Moment:
    times = psutil.cpu_times()._asdict()
    # Linux counts a guest's time in the host's user time already.
    total = sum(seconds for state, seconds in times.items() if not state.startswith("guest"))
    busy = total - times["idle"] - times.get("iowait", 0.0)
    return Moment(time.perf_counter(), busy, total, rapl.counters())


def _cpu_temperature() -> float | None:
    """The hottest of the CPU's sensors, in degrees Celsius."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    chips = psutil.sensors_temperatures()
    known = [sensor.current for chip in CPU_SENSORS for sensor in chips.get(chip, ())]
    return max(known, default=None)


def _cuda(index: int) -> Callable[[], Reading]:
    import torch

    handle = nvidia.handle(str(torch.cuda.get_device_properties(index).uuid))
    if handle is not None:
        return lambda: nvidia.read(handle)
    return lambda: _read_cuda_by_torch(index)


def _read_cuda_by_torch(index: int) -> Reading:
    """What PyTorch knows of a GPU that NVML doesn't (AMD's, or a slice of a GPU)."""
    import torch

    free, total = torch.cuda.mem_get_info(index)
    return Reading(torch.cuda.get_device_name(index), memory_used=total - free, memory_total=total)


def _read_mps() -> Reading:
    import torch

    return Reading(
        machine.cpu_name(),
        memory_used=torch.mps.driver_allocated_memory(),
        memory_total=torch.mps.recommended_max_memory(),
    )
