"""The report as one self-contained HTML file: table, charts, pictures with a before/after slider."""

from collections.abc import Sequence

from sr_cli import __version__
from sr_cli.evaluation.report.chart import charts
from sr_cli.evaluation.report.gallery import Exhibit
from sr_cli.evaluation.report.table import caption, image_rows, mean_rows, remarks
from sr_cli.evaluation.result import EvaluationReport, find_measure
from sr_cli.html import data_url, template

MAX_IMAGE_ROWS = 200
"""The most pictures whose scores are listed one by one."""


def page(report: EvaluationReport, exhibits: Sequence[Exhibit]) -> str:
    """The HTML file, which loads nothing from elsewhere, with the exhibits of a gallery, the worst first."""
    judged = report.judged()[0]
    order = find_measure(report.measures[0])
    html = template("sr_cli.evaluation.report", "page.html").render(
        report=report,
        version=__version__,
        rows=mean_rows(report),
        remarks=remarks(report),
        charts=charts(report),
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
