"""``sr runs``."""

import csv
import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from sr_cli import console
from sr_cli.cli.completion import completer
from sr_cli.errors import TrainingError

_SETTINGS = ("arch", "scale", "loss", "degradation", "batch_size", "lr")


def runs(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Only these, by name or folder.", autocompletion=completer("runs")),
    ] = None,
    *,
    runs_dir: Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Folder of the runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List trainings: settings, steps, and the best validation. Of several named ones, only settings that differ."""
    folders = [path if (path := Path(name)).is_dir() else runs_dir / name for name in runs or ()]
    found = [_read(folder) for folder in folders or sorted(path.parent for path in runs_dir.glob("*/config.json"))]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        console.note(f"{runs_dir}: no runs yet; sr train PHOTOS begins one")
        return
    shown = {name for name in _SETTINGS if len(found) == 1 or len({str(run[name]) for run in found}) > 1 or not runs}
    columns = [name for name in found[0] if name not in _SETTINGS or name in shown]
    table = Table(*(name.replace("_", " ") for name in columns), box=None, pad_edge=False)
    for run in found:
        table.add_row(*(escape("–" if run[name] is None else str(run[name])) for name in columns))
    console.print_whole(table)


def _read(run: Path) -> dict[str, Any]:
    """What is known about a run from its ``config.json`` and ``validation.csv``.

    Raises:
        TrainingError: there is no such run.
    """
    try:
        settings = json.loads((run / "config.json").read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{run}: not the folder of a run; sr runs lists those in runs/") from error
    steps, best = None, None
    with suppress(OSError), (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        steps = max((int(row["step"]) for row in csv.DictReader(file)), default=None)
    measure = settings.get("best", "psnr")
    with suppress(OSError, ValueError), (run / "validation.csv").open(encoding="utf-8", newline="") as file:
        from sr_cli.evaluation.measures import MEASURES

        rows = [row for row in csv.DictReader(file) if row.get(measure)]
        best = min(rows, key=lambda row: MEASURES[measure].badness(float(row[measure])))
    return {
        "run": run.name,
        **{name: settings.get(name) for name in _SETTINGS},
        "steps": steps,
        "best": f"{measure} {float(best[measure]):.4g}" if best else None,
        "at_step": int(best["step"]) if best else None,
    }
