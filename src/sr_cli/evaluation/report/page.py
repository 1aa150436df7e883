"""The report as one self-contained HTML file: table, charts, pictures with a before/after slider."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sr_cli import __version__
from sr_cli.evaluation.report.gallery import Exhibit
from sr_cli.evaluation.report.table import caption, image_rows, mean_rows, remarks
from sr_cli.evaluation.result import EvaluationReport, find_measure
from sr_cli.html import Axis, data_url, template

MAX_DOTS = 200
"""The most dots in one strip; of more pictures, every second, third … is drawn."""

MAX_IMAGE_ROWS = 200
"""The most pictures whose scores are listed one by one."""


@dataclass(frozen=True)
class Strip:
    """A method's values: a dot for each picture and a bar at the mean, as positions from 0 (left) to 1 (right).

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


def page(report: EvaluationReport, exhibits: Sequence[Exhibit]) -> str:
    """The HTML file, which loads nothing from elsewhere, with the exhibits of a gallery, the worst first."""
    judged = report.judged()[0]
    order = find_measure(report.measures[0])
    html = template("sr_cli.evaluation.report", "page.html").render(
        report=report,
        version=__version__,
        rows=mean_rows(report),
        remarks=remarks(report),
        charts=[chart for name in report.measures if (chart := _chart(report, name))],
        images=[(image, image_rows(report, image)) for image in report.images[:MAX_IMAGE_ROWS]],
        groups=_groups(exhibits, f"{order.label} of {judged}"),
        panels=lambda exhibit: _panels(report, exhibit),
        left="bicubic",
        right=judged if judged != "bicubic" else "HR",
    )
    return html.encode("utf-8", "backslashreplace").decode()  # file names need not be UTF-8


def _groups(exhibits: Sequence[Exhibit], order: str) -> list[tuple[str, Sequence[Exhibit]]]:
    """Headings with their pictures: the worst and the best, or all if there are few."""
    if len(exhibits) < 4:
        return [(f"Pictures, by {order}, the worst first", exhibits)] if exhibits else []
    half = (len(exhibits) + 1) // 2
    return [(f"Worst by {order}", exhibits[:half]), (f"Best by {order}", exhibits[half:][::-1])]


def _panels(report: EvaluationReport, exhibit: Exhibit) -> list[dict[str, str]]:
    """The versions of a picture: name, file as a data URL, scores."""
    return [
        {
            "name": name,
            "source": data_url(file, "image/webp"),
            "scores": " · ".join(caption(report, exhibit.result, name)),
        }
        for name, file in exhibit.panels.items()
    ]


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
