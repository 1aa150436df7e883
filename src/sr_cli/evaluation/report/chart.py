"""The chart of the report's page: a strip for every method, a dot for every picture, a bar at the mean."""

import math
from dataclasses import dataclass

from sr_cli.evaluation.result import EvaluationReport, measure_called

MOST_DOTS = 200
"""Dots in one strip; of more pictures every second, third … is drawn."""


@dataclass(frozen=True)
class Dot:
    """A picture's value: its place from 0 (left) to 1 (right), and what to say of it."""

    place: float
    title: str


@dataclass(frozen=True)
class Strip:
    """A method's values; ``mean`` is a place, and ``None`` where it is infinite."""

    method: str
    color: int
    dots: tuple[Dot, ...]
    mean: float | None
    text: str


@dataclass(frozen=True)
class Panel:
    """One measure; ``low`` and ``high`` are what stands at places 0 and 1."""

    title: str
    low: str
    high: str
    strips: tuple[Strip, ...]


def panels(report: EvaluationReport) -> list[Panel]:
    """A panel for every measure that has values to draw."""
    return [panel for name in report.measures if (panel := _panel(report, name)) is not None]


def _panel(report: EvaluationReport, name: str) -> Panel | None:
    measure = measure_called(name)
    finite = [v for method in report.methods for v in report.values(method.name, name) if math.isfinite(v)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    span = high - low or 1.0

    def place(value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else (value - low) / span

    strips = []
    step = math.ceil(len(report.images) / MOST_DOTS)
    for color, method in enumerate(report.methods):
        values = ((image.name, image.scores[method.name].get(name)) for image in report.images[::step])
        dots = tuple(
            Dot(where, f"{image}: {measure.text(value)}")
            for image, value in values
            if (where := place(value)) is not None
        )
        mean = report.value(method.name, name)
        strips.append(Strip(method.name, color, dots, place(mean), measure.text(mean)))
    return Panel(measure.heading, measure.text(low), measure.text(high), tuple(strips))
