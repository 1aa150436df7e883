"""The report as JSON, CSV and Markdown."""

import csv
import io
import json

from sr_cli.evaluation.report.table import mean_rows, remarks
from sr_cli.evaluation.result import EvaluationReport, as_dict


def as_json(report: EvaluationReport) -> str:
    """One JSON document, in ASCII, which no encoding of stdout can break; ``--baseline`` reads it again."""
    return json.dumps(as_dict(report), indent=2, allow_nan=False) + "\n"


def as_csv(report: EvaluationReport) -> str:
    """A line for every picture and method, with the protocol in every line; an empty field where there is no value."""
    text = io.StringIO()
    protocol = report.protocol
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ["image", "width", "height", "method", *report.measures, "scale", "measured_on", "shave", "lr"],
    )
    for image in report.images:
        for method, scores in image.scores.items():
            values = (scores.get(name) for name in report.measures)
            lines.writerow(
                [image.name, image.width, image.height, method, *("" if v is None else repr(v) for v in values),
                 protocol.scale, protocol.channel, protocol.shave, protocol.lr]
            )  # fmt: skip
    return text.getvalue()


def as_markdown(report: EvaluationReport) -> str:
    """The table of means, for a README or a comment; the best of a column is bold."""
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
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
