"""Utilization, memory, power and energy of a device, sampled while work runs. No torch until a GPU is asked for."""

from sr_cli.system.telemetry.energy import EnergyReport, Tally, in_parallel
from sr_cli.system.telemetry.meter import EnergyMeter
from sr_cli.system.telemetry.probe import sample
from sr_cli.system.telemetry.reading import EnergyCounter, Reading, joules_between

__all__ = [
    "EnergyCounter",
    "EnergyMeter",
    "EnergyReport",
    "Reading",
    "Tally",
    "in_parallel",
    "joules_between",
    "sample",
]
