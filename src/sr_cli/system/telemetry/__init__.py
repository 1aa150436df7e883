"""Utilization, memory, power and energy of a device while work runs. Imports torch only to read a GPU."""

from sr_cli.system.telemetry.energy import EnergyReport, Tally, in_parallel
from sr_cli.system.telemetry.meter import EnergyMeter
from sr_cli.system.telemetry.probe import device_reader
from sr_cli.system.telemetry.reading import EnergyCounter, Reading, joules_between
