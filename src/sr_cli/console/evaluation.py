"""An evaluation on the console: progress, table, failures, changes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sr_cli import console
from sr_cli.evaluation.measures import Measure
from sr_cli.evaluation.report.table import Row, image_rows, mean_rows, remarks
from sr_cli.evaluation.result import EvaluationReport, Failure, find_measure
from sr_cli.evaluation.thresholds import Change
from sr_cli.system.quantities import pictures

if TYPE_CHECKING:
    from sr_cli.evaluation.evaluate import EvaluationStep

_UNLIMITED = 10_000  # columns of a pipe
_PADDING = 3  # columns between two cells, and for the star


@contextmanager
def evaluation_progress(*, quiet: bool = False) -> Iterator[Callable[["EvaluationStep"], None]]:
    """Show progress: a bar on a terminal, elsewhere a plain line for each tenth of the pictures; or nothing."""
    if quiet:
        yield lambda _: None
        return
    if not console.err.is_terminal:
        yield _note_tenths
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeRemainingColumn())
    with Progress(*columns, TextColumn("left"), console=console.err, transient=True) as bar:
        task = bar.add_task("loading", total=None, count="")

        def show(step: "EvaluationStep") -> None:
            count = f"{step.done}/{step.count}"
            bar.update(task, description="measuring", completed=step.done, total=step.count, count=count)

        yield show


def show_failures(failures: Sequence[Failure]) -> None:
    """Print the files that could not be measured, and why."""
    for failure in failures:
        console.warning(f"{failure.file}: not measured, {failure.reason}")


def show(report: EvaluationReport, *, per_image: bool = False) -> None:
    """Print the table of means and the remarks on it; with ``per_image``, first one for every picture."""
    measures = tuple(column for column in report.columns if column.name in report.measures)
    if per_image:
        for image in report.images:
            console.out.print(escape(console.one_line(f"{image.name}, {image.width}×{image.height}")))
            _print(_tables("", measures, image_rows(report, image)))
    title = f"{report.count} of {report.source}"
    console.out.print(f"{escape(console.one_line(title))}: {escape(str(report.protocol))}")
    _print(_tables("mean", report.columns, mean_rows(report)))
    for remark in remarks(report):
        console.out.print(escape(console.one_line(remark)))


def show_changes(found: Sequence[Change], *, to: Console = console.out) -> None:
    """Print how the means differ from the baseline's."""
    table = Table("method", "measure", box=None, pad_edge=False)
    for heading in ("before", "now", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for change in found:
        measure = find_measure(change.measure)
        difference = 0.0 if change.now == change.before else round(change.now - change.before, measure.digits)
        name = change.method if change.method == change.old_name else f"{change.method} (was {change.old_name})"
        table.add_row(
            Text(console.one_line(name)),
            change.measure,
            measure.text(change.before),
            measure.text(change.now),
            f"{difference:+,.{measure.digits}f}" if difference else "0",
            Text("worse", "bold red") if change.worse else "",
        )
    _print([table], to=to)


def _note_tenths(step: "EvaluationStep") -> None:
    if step.done * 10 // step.count > (step.done - 1) * 10 // step.count:
        console.note(f"{step.done} of {pictures(step.count)}")


def _tables(heading: str, columns: Sequence[Measure], rows: Sequence[Row]) -> list[Table]:
    """One table; on a narrow terminal several, each with as many columns as fit."""
    names = [console.one_line(row.method) for row in rows]
    room = console.out.width - max(map(cell_len, [heading, *names])) if console.out.is_terminal else _UNLIMITED
    groups: list[list[int]] = []
    left = 0
    for index, column in enumerate(columns):
        width = _PADDING + max(map(cell_len, [*_title(column).split("\n"), *(row.cells[index].text for row in rows)]))
        if width > left:
            groups.append([])
            left = room
        groups[-1].append(index)
        left -= width
    return [_table(heading, names, columns, rows, group) for group in groups]


def _table(
    heading: str, names: Sequence[str], columns: Sequence[Measure], rows: Sequence[Row], shown: Sequence[int]
) -> Table:
    """The columns with the indices in ``shown``; a star marks the best."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column(Text(heading), no_wrap=True)
    for index in shown:
        table.add_column(Text(_title(columns[index]), justify="right"), justify="right", no_wrap=True)
    for name, row in zip(names, rows, strict=True):
        cells = (row.cells[index] for index in shown)
        table.add_row(Text(name), *(Text(f"{c.text}*", "bold green") if c.best else Text(f"{c.text} ") for c in cells))
    return table


def _title(column: Measure) -> str:
    """The heading on two lines; the space at its end is for the stars below."""
    heading = f"{column.heading} "
    if console.out.is_terminal:  # then the default measures fit into 80 columns
        heading = heading.replace("checkerboard", "checker- board")
    return heading.replace(" ", "\n", 1)


def _print(tables: Sequence[Table], *, to: Console = console.out) -> None:
    """Print tables; in a pipe at the width they need, so that no column is cut."""
    for table in tables:
        wanted = Measurement.get(to, to.options.update_width(_UNLIMITED), table).maximum
        paper = to if to.is_terminal else Console(file=to.file, width=wanted, highlight=False)
        paper.print(table, crop=False)
        paper.print()
