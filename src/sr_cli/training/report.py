"""The report of a run: one HTML file made from the files in its folder."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sr_cli import __version__
from sr_cli.errors import TrainingError
from sr_cli.evaluation.measures import MEASURES
from sr_cli.html import Axis, data_url, template
from sr_cli.system.atomic_files import write_atomically
from sr_cli.system.telemetry import EnergyReport

MOST_POINTS = 600
"""Points of a curve; the values of longer ones are averaged in groups."""

MOST_SAMPLES = 24
"""Sample pictures on the page, spread evenly over the run; the last one is always there."""

WIDTH, HEIGHT = 640, 220  # of a chart, in SVG units

_NOT_LOSSES = {"step", "epoch", "seconds", "lr", "images_per_second", "loading"}

Table = dict[str, list[float]]
"""Columns of numbers by name; NaN where there is none."""


@dataclass(frozen=True)
class Curve:
    """A line of a chart: its name, its last value as text, and its points in SVG's notation."""

    name: str
    last: str
    points: str


@dataclass(frozen=True)
class Chart:
    """Curves over the steps; ``low`` and ``high`` label the vertical axis."""

    title: str
    low: str
    high: str
    first_step: int
    last_step: int
    curves: tuple[Curve, ...]


def write_report(run: Path) -> Path:
    """Write ``report.html``, which loads nothing else, into the folder of a run.

    Reads ``config.json``, ``metrics.csv`` and, if they exist, ``validation.csv``, ``energy.json`` and
    ``samples/step-*.png``.

    Returns:
        The path of the page.

    Raises:
        TrainingError: the folder holds no run.
        OutputError: the page cannot be written.
    """
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{run}: not the folder of a run ({error})") from error
    metrics, validation = read_table(run / "metrics.csv"), read_table(run / "validation.csv")
    energy = json.loads(text) if (text := _text(run / "energy.json")) else None
    epochs = metrics.get("epoch", [math.nan])[-1]
    g_per_kwh = config.get("carbon_intensity")
    page = template("sr_cli.training", "report.html").render(
        name=run.name,
        version=__version__,
        charts=charts(metrics, validation),
        samples=samples(run / "samples"),
        energy=EnergyReport(**energy).rows(epochs=epochs, g_per_kwh=g_per_kwh) if energy else [],
        settings=flatten(config),
        width=WIDTH,
        height=HEIGHT,
    )
    write_atomically(run / "report.html", page)
    return run / "report.html"


def read_table(path: Path) -> Table:
    """The numeric columns of a CSV file; none if the file is missing."""
    rows = list(csv.DictReader(_text(path).splitlines()))
    columns = {name: [_number(row.get(name)) for row in rows] for name in (rows[0] if rows else ())}
    return {name: values for name, values in columns.items() if not all(map(math.isnan, values))}


def charts(metrics: Table, validation: Table) -> list[Chart]:
    """The loss terms, the measures of the validations, the learning rate and the speed, as far as there are values."""

    def chart(title: str, table: Table, *names: str, logarithmic: bool = False) -> Chart | None:
        columns = {name: table[name] for name in names if name in table}
        return _chart(title, table.get("step", []), columns, logarithmic=logarithmic)

    losses = [name for name in metrics if name not in _NOT_LOSSES and not name.startswith("device_")]
    drawn = (
        chart("loss terms, weighted", metrics, *losses, logarithmic=True),
        *(chart(f"validation, {MEASURES[name].heading}", validation, name) for name in validation if name in MEASURES),
        chart("learning rate", metrics, "lr"),
        chart("images per second", metrics, "images_per_second"),
    )
    return [each for each in drawn if each is not None]


def samples(folder: Path) -> list[tuple[int, str]]:
    """Steps and sample pictures as data URLs, at most `MOST_SAMPLES`, in order."""
    found = sorted((int(path.stem.removeprefix("step-")), path) for path in folder.glob("step-*.png"))
    if len(found) > MOST_SAMPLES:
        found = [found[round(i * (len(found) - 1) / (MOST_SAMPLES - 1))] for i in range(MOST_SAMPLES)]
    return [(step, data_url(path.read_bytes(), "image/png")) for step, path in found]


def flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as rows of dotted names and values as text; ``None`` becomes a dash."""
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in flatten(inner, f"{name}.{key}" if name else key)]
    return [(name, "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value))]


def thin_out(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most ``most`` points, each the mean of a group of neighbors."""
    size = -(-len(points) // most)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def _chart(title: str, steps: Sequence[float], columns: Table, *, logarithmic: bool) -> Chart | None:
    across = Axis.over(steps)
    up = Axis.over((value for column in columns.values() for value in column), logarithmic=logarithmic)
    if across is None or up is None:
        return None
    curves = []
    for name, values in columns.items():
        drawn = [(s, v) for s, v in zip(steps, values, strict=True) if up.position(v) is not None]
        if drawn:
            places = [(across.position(step) or 0.0, up.position(value) or 0.0) for step, value in thin_out(drawn)]
            points = [f"{WIDTH * x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in places]
            points *= 2 if len(points) == 1 else 1  # a line of length 0, whose round ends make a dot
            curves.append(Curve(name, f"{drawn[-1][1]:.4g}", " ".join(points)))
    return Chart(title, f"{up.low:.4g}", f"{up.high:.4g}", int(across.low), int(across.high), tuple(curves))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
