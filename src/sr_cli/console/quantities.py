"""Readings and energy in words: a figure with its unit, or the word ``unavailable``, never 0."""

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sr_cli.system.telemetry import EnergyReport, Reading

UNAVAILABLE = "unavailable"


def share(value: float | None) -> str:
    """A part of a whole, 0 to 1, in percent."""
    return UNAVAILABLE if value is None else f"{value:.0%}"


def memory(value: int | None) -> str:
    """Bytes as MiB, as nvidia-smi shows them."""
    return UNAVAILABLE if value is None else f"{value / 2**20:.0f} MiB"


def part_of(part: int | None, whole: int | None, *, name: str) -> str:
    """Bytes out of bytes, such as ``72 MiB used of 12845 MiB``."""
    return UNAVAILABLE if part is None or whole is None else f"{memory(part)} {name} of {memory(whole)}"


def watts(value: float | None) -> str:
    """Watts, with a decimal below ten."""
    return UNAVAILABLE if value is None else f"{significant(value, digits=2)} W"


def celsius(value: float | None) -> str:
    """Degrees Celsius."""
    return UNAVAILABLE if value is None else f"{value:.0f} °C"


def significant(value: float, *, digits: int = 3) -> str:
    """The value with so many significant digits, whole from there on, and no exponent where it can be read without."""
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def reading_line(reading: "Reading") -> str:
    """A device's state in one line; what it doesn't tell is left out."""
    parts = [reading.name]
    if reading.utilization is not None:
        parts.append(share(reading.utilization))
    if reading.memory_used is not None:
        parts.append(memory(reading.memory_used))
    if reading.power is not None:
        parts.append(watts(reading.power))
    if reading.temperature is not None:
        parts.append(celsius(reading.temperature))
    return ", ".join(parts)


def energy_rows(
    report: "EnergyReport", *, epochs: float | None = None, g_per_kwh: float | None = None
) -> list[tuple[str, str]]:
    """What a run has consumed, as labels and values.

    Args:
        epochs: how many epochs the energy was spent on; without it there is no row for one epoch's.
        g_per_kwh: the electricity's carbon intensity; without it there is no row for CO2e.
    """
    rows = [
        ("device", report.device),
        ("before", f"power {watts(report.idle_watts)}, memory {memory(report.idle_memory)}"),
        ("mean", f"power {watts(report.mean_watts)}, memory {memory(report.mean_memory)}"),
        ("peak", f"power {watts(report.peak_watts)}, memory {memory(report.peak_memory)}"),
        ("utilization", share(report.mean_utilization)),
        ("energy", _energy(report)),
    ]
    if epochs:
        an_epoch = None if report.watt_hours is None else report.watt_hours / epochs
        rows.append(("energy an epoch", _amount(an_epoch, "Wh")))
    if g_per_kwh is not None:
        rows.append(("CO2e", f"{_amount(report.grams_co2e(g_per_kwh), 'g')} at {g_per_kwh:g} g/kWh"))
    return rows


def _energy(report: "EnergyReport") -> str:
    if report.watt_hours is None:
        return UNAVAILABLE
    time = timedelta(seconds=round(report.seconds))
    covered = report.measured_seconds / report.seconds
    gaps = "" if covered > 0.995 else f", measured for {covered:.0%} of it"
    return f"{_amount(report.watt_hours, 'Wh')} in {time} ({report.method}{gaps})"


def _amount(value: float | None, unit: str) -> str:
    return UNAVAILABLE if value is None else f"{significant(value)} {unit}"
