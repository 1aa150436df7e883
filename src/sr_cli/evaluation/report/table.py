"""The table in every form of the report: a row per method, the best of each column marked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sr_cli.evaluation.measures import Measure
from sr_cli.evaluation.result import EvaluationReport, ImageResult, find_measure

UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Cell:
    """A cell's text, and whether it is the best of its column."""

    text: str
    best: bool


@dataclass(frozen=True)
class Row:
    """A method's cells, in the order of the columns."""

    method: str
    cells: tuple[Cell, ...]


def mean_rows(report: EvaluationReport) -> list[Row]:
    """The means over the pictures, and the costs: a cell for each of ``report.columns``."""
    return _rows(report, report.columns, report.value)


def image_rows(report: EvaluationReport, image: ImageResult) -> list[Row]:
    """One picture's scores: a cell for each of ``report.measures``."""
    measures = tuple(column for column in report.columns if column.name in report.measures)
    return _rows(report, measures, lambda method, measure: image.scores[method].get(measure))


def caption(report: EvaluationReport, image: ImageResult, method: str) -> list[str]:
    """The text below a picture: its first scores, such as ``PSNR 28.43 dB``; nothing for LR and HR."""
    scores = image.scores.get(method, {})
    known = [find_measure(name) for name in report.measures if scores.get(name) is not None]
    return [measure.labeled(scores[measure.name]) for measure in known[:3]]


def remarks(report: EvaluationReport) -> list[str]:
    """The lines below the table: what is missing from it, and why."""
    unavailable = [f"{name} is unavailable: {reason}" for name, reason in report.unavailable.items()]
    count = len(report.failures)
    failed = ["1 file was not measured" if count == 1 else f"{count} files were not measured"] if count else []
    return [*unavailable, *report.notes, *failed]


def _rows(
    report: EvaluationReport, columns: tuple[Measure, ...], value: Callable[[str, str], float | None]
) -> list[Row]:
    methods = [method.name for method in report.methods]
    found: Mapping[str, Mapping[str, float | None]] = {c.name: {m: value(m, c.name) for m in methods} for c in columns}
    rated = set(report.measures) - report.unavailable.keys()  # not the costs: bicubic would win them all
    winners = {c.name: c.winners(found[c.name]) if c.name in rated else set() for c in columns}

    def cell(method: str, column: Measure) -> Cell:
        text = UNAVAILABLE if column.name in report.unavailable else column.text(found[column.name][method])
        return Cell(text, method in winners[column.name])

    return [Row(method, tuple(cell(method, column) for column in columns)) for method in methods]
