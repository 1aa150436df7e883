"""The charts of the page: for every method a strip with a dot for each picture and a bar at the mean."""

import math
from dataclasses import dataclass

from sr_cli.evaluation.result import EvaluationReport, find_measure
from sr_cli.html import Axis

MAX_DOTS = 200
"""The most dots in one strip; of more pictures, every second, third … is drawn."""


@dataclass(frozen=True)
class Strip:
    """A method's values, as positions from 0 (left) to 1 (right).

    Attributes:
        dots: the position of each picture, and its tooltip.
        mean: ``None`` if it is infinite.
    """

    method: str
    color: int
    dots: tuple[tuple[float, str], ...]
    mean: float | None
    text: str


@dataclass(frozen=True)
class Chart:
    """One measure; ``low`` and ``high`` label its ends."""

    title: str
    low: str
    high: str
    strips: tuple[Strip, ...]


def charts(report: EvaluationReport) -> list[Chart]:
    """A chart for every measure that has values to draw."""
    return [chart for name in report.measures if (chart := _chart(report, name)) is not None]


def _chart(report: EvaluationReport, name: str) -> Chart | None:
    measure = find_measure(name)
    axis = Axis.over(value for method in report.methods for value in report.values(method.name, name))
    if axis is None:
        return None
    strips = []
    for color, method in enumerate(report.methods):
        dots = []
        for image in report.images[:: math.ceil(len(report.images) / MAX_DOTS)]:
            value = image.scores[method.name].get(name)
            if (position := axis.position(value)) is not None:
                dots.append((position, f"{image.name}: {measure.text(value)}"))
        mean = report.value(method.name, name)
        strips.append(Strip(method.name, color, tuple(dots), axis.position(mean), measure.text(mean)))
    return Chart(measure.heading, measure.text(axis.low), measure.text(axis.high), tuple(strips))
