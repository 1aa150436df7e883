"""Energy counters of the CPU (RAPL), from the kernel's powercap folder.

Source: the kernel's power/powercap/powercap.rst and Documentation/ABI/testing/sysfs-class-powercap.
"""

from pathlib import Path

from sr_cli.system.telemetry.reading import EnergyCounter

POWERCAP = Path("/sys/class/powercap")


def counters(powercap: Path = POWERCAP) -> tuple[EnergyCounter, ...]:
    """The counters of all CPU packages and of DRAM; empty unless all can be read."""
    try:
        return tuple(_counter(zone) for zone in _zones(powercap))
    except (OSError, ValueError):
        return ()


def status(powercap: Path = POWERCAP) -> str:
    """Whether the CPU's energy can be read: ``readable (RAPL)``, or ``unavailable`` and why."""
    zones = _zones(powercap)
    if not zones:
        return "unavailable: the kernel shows no RAPL counters here"
    if counters(powercap):
        return "readable (RAPL)"
    return f"unavailable: {zones[0] / 'energy_uj'} is not readable for this user"


def _zones(powercap: Path) -> list[Path]:
    """The zones to add up: packages and DRAM. Cores are part of their package, and psys contains everything."""
    zones = []
    for zone in sorted(powercap.glob("intel-rapl:*")):  # on AMD too; intel-rapl-mmio would count packages twice
        try:
            name = (zone / "name").read_text().strip()
        except OSError:
            continue
        if name.startswith("package") or name == "dram":
            zones.append(zone)
    return zones


def _counter(zone: Path) -> EnergyCounter:
    microjoules = int((zone / "energy_uj").read_text())
    limit = int((zone / "max_energy_range_uj").read_text())
    return EnergyCounter(microjoules / 1e6, limit / 1e6)
