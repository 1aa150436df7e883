"""The energy of devices that work side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sr_cli.system.telemetry import EnergyReport


def in_parallel(reports: Sequence[EnergyReport]) -> EnergyReport:
    """What devices that worked side by side have consumed together."""
    if len(reports) == 1:
        return reports[0]

    def total(name: str) -> Any:
        values = [getattr(report, name) for report in reports]
        return None if None in values else sum(values)

    added = ("idle_watts", "mean_watts", "peak_watts", "idle_memory", "mean_memory", "peak_memory", "watt_hours")
    busy = [report.mean_utilization for report in reports if report.mean_utilization is not None]
    return replace(
        reports[0],
        device=f"{len(reports)} × {reports[0].device}",
        seconds=max(report.seconds for report in reports),
        measured_seconds=min(report.measured_seconds for report in reports),
        mean_utilization=sum(busy) / len(busy) if busy else None,
        **{name: total(name) for name in added},
    )
