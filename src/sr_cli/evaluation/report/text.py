"""The report as JSON, CSV and Markdown."""

import csv
import io
import json

from sr_cli.errors import one_line
from sr_cli.evaluation.report.table import mean_rows, remarks
from sr_cli.evaluation.result import EvaluationReport, as_dict


def as_json(report: EvaluationReport) -> str:
    """One JSON document for ``--baseline``, in ASCII so that it survives any encoding of stdout."""
    return json.dumps(as_dict(report), indent=2, allow_nan=False) + "\n"


def as_csv(report: EvaluationReport) -> str:
    """A line for every picture and method, with the protocol; a missing value is an empty field.

    Names that a spreadsheet would take for formulas begin with an apostrophe, which makes them text.
    """
    text = io.StringIO()
    protocol = report.protocol
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["image", "width", "height", "method", *report.measures, "scale", "measured_on", "shave", "lr"])
    measured = (protocol.scale, protocol.channel, protocol.shave, protocol.lr)
    for image in report.images:
        for method, scores in image.scores.items():
            values = ("" if (value := scores.get(name)) is None else repr(value) for name in report.measures)
            lines.writerow([_cell(image.name), image.width, image.height, _cell(method), *values, *measured])
    return text.getvalue()


def as_markdown(report: EvaluationReport) -> str:
    """The table of means, for a README or a comment; the best of each column is bold."""
    columns = report.columns
    lines = [
        f"{report.count} of `{report.source}`: {report.protocol}.",
        "",
        _line(["", *(column.heading for column in columns)]),
        _line(["---", *("--:" for _ in columns)]),
    ]
    for row in mean_rows(report):
        lines.append(_line([row.method, *(f"**{cell.text}**" if cell.best else cell.text for cell in row.cells)]))
    lines += ["", *(f"- {remark}" for remark in remarks(report))]
    lines += [f"  - `{failure.file}`: {failure.reason}" for failure in report.failures]
    return "\n".join(map(one_line, lines)).rstrip() + "\n"


def _cell(text: str) -> str:
    return "'" * text.startswith(("=", "+", "-", "@")) + one_line(text)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
