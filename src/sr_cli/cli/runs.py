"""``sr runs``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from sr_cli import console
from sr_cli.cli.completion import completer
from sr_cli.cli.options import check_page
from sr_cli.config import duration
from sr_cli.system.atomic_files import write_atomically

if TYPE_CHECKING:
    from sr_cli.training.runs import TrainingRun

_SETTINGS = ("arch", "scale", "loss", "degradation", "batch_size", "lr")


def runs(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Only these, by name or folder.", autocompletion=completer("runs")),
    ] = None,
    *,
    runs_dir: Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Folder of the runs.")] = Path("runs"),
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write a page with their curves, one over the other."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List trainings, or compare those that are named.

    The list has settings, steps, and the best validation; a comparison has a row for each setting that differs.
    """
    from sr_cli.training.runs import TrainingRun

    check_page(report)
    folders = [path if (path := Path(name)).is_dir() else runs_dir / name for name in runs or ()]
    found = [TrainingRun.read(run) for run in folders or sorted(path.parent for path in runs_dir.glob("*/config.json"))]
    if report and found:
        from sr_cli.training.report import page

        write_atomically(report, page(found))
        console.note(f"wrote {report}")
    if as_json:
        bests = [{run.measure.name: run.best[0]} if run.best else None for run in found]
        facts = [
            {**_row(run, _SETTINGS), "best": best, "folder": str(run.folder)}
            for run, best in zip(found, bests, strict=True)
        ]
        typer.echo(json.dumps(facts, indent=2))
        return
    if not found:
        console.note(f"{runs_dir}: no runs yet; sr train PHOTOS begins one")
        return
    compared = bool(runs) and len(found) > 1
    settings = dict.fromkeys(name for run in found for name in run.settings if name != "steps")
    differing = [name for name in settings if len({str(run.settings.get(name)) for run in found}) > 1]
    rows = [_row(run, differing if compared else _SETTINGS) for run in found]
    titles = ["time" if name == "hours" else name.replace("_", " ") for name in rows[0]]
    columns = [[title, *(_shown(name, row[name]) for row in rows)] for title, name in zip(titles, rows[0], strict=True)]
    if not compared and console.out.is_terminal:  # rather fewer settings than names that are cut
        while len(columns) > 4 and sum(max(map(cell_len, column)) + 2 for column in columns) > console.out.width:
            del columns[-4]
    first, *lines = columns if compared else zip(*columns, strict=True)
    table = Table(*first, box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = not compared
    for line in lines:
        table.add_row(*map(escape, line))
    console.print_whole(table)


def _shown(name: str, value: object) -> str:
    if value is None:
        return "–"
    return duration(value) if name == "hours" and isinstance(value, float) else console.one_line(str(value))


def _row(run: "TrainingRun", settings: Iterable[str]) -> dict[str, Any]:
    """What the table and ``--json`` say about a run."""
    return {
        "run": run.name,
        **{name: run.settings.get(name) for name in settings},
        "steps": run.steps,
        "best": run.score(run.best[0]) if run.best else None,
        "at_step": run.best[1] if run.best else None,
    }
