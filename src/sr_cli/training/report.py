"""The report of a run, or of several beside each other: one HTML file made from the files in their folders."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from sr_cli import __version__
from sr_cli.evaluation.measures import MEASURES
from sr_cli.html import Axis, data_url, template
from sr_cli.system.atomic_files import write_atomically
from sr_cli.system.quantities import UNAVAILABLE
from sr_cli.training.runs import TrainingRun

MOST_POINTS = 600
"""Points of a curve; the values of longer ones are averaged in groups."""

MOST_SAMPLES = 24
"""Sample pictures on the page, spread evenly over the run; the last one is always there."""

_NOT_LOSSES = {"step", "epoch", "seconds", "lr", "images_per_second", "loading"}


@dataclass(frozen=True)
class Curve:
    """A line of a chart through points of step and value; ``color`` is the index of its color."""

    name: str
    points: list[tuple[float, float]]
    color: int = 0


@dataclass(frozen=True)
class Chart:
    """Curves over the steps; labels and values of bicubic interpolation; ``left`` to ``bottom`` are in SVG units."""

    left: ClassVar = 52.0
    right: ClassVar = 472.0
    top: ClassVar = 8.0
    bottom: ClassVar = 176.0

    title: str
    across: Axis
    up: Axis
    curves: tuple[Curve, ...]
    bicubic: Sequence[tuple[str, float]]

    @property
    def matrix(self) -> tuple[float, float, float, float]:
        """Factor and offset of the SVG coordinates, of the step first, then of the value on the ruler of ``up``."""
        low, high = self.up.scaled(self.up.low), self.up.scaled(self.up.high)
        wide = (self.right - self.left) / ((self.across.high - self.across.low) or 1.0)
        tall = (self.top - self.bottom) / ((high - low) or 1.0)
        return wide, self.left - wide * self.across.low, tall, self.bottom - tall * low

    def x(self, step: float) -> float:
        """Where a step is drawn."""
        wide, left, _, _ = self.matrix
        return wide * step + left

    def y(self, value: float) -> float:
        """Where a value is drawn."""
        _, _, tall, bottom = self.matrix
        return tall * self.up.scaled(value) + bottom

    def points(self, curve: Curve) -> str:
        """The points of a curve in SVG's notation, before `matrix`: so that the page can read the values again."""
        places = [f"{step:.7g},{self.up.scaled(value):.6g}" for step, value in curve.points]
        return " ".join(places * (2 if len(places) == 1 else 1))  # a line of length 0, whose round ends make a dot


def write_report(folder: Path) -> Path:
    """Write ``report.html``, which loads nothing else, into the folder of a run.

    Returns:
        The path of the page.

    Raises:
        TrainingError: the folder holds no run.
        OutputError: the page cannot be written.
    """
    write_atomically(folder / "report.html", page([TrainingRun.read(folder)]))
    return folder / "report.html"


def page(runs: Sequence[TrainingRun]) -> str:
    """The HTML file on a run, or on several: the same charts with a curve of each, and the settings in which they
    differ first.
    """
    epochs = [run.metrics.get("epoch", [math.nan])[-1] for run in runs]
    energy = [
        run.energy.rows(epochs=done, g_per_kwh=run.config.get("carbon_intensity")) if run.energy else []
        for run, done in zip(runs, epochs, strict=True)
    ]
    known = [
        [(label, text) for label, text in rows if UNAVAILABLE not in text or label in ("energy", "CO2e")]
        for rows in energy
    ]
    settings = table([flatten(run.settings) for run in runs])
    rest = [flatten({k: v for k, v in run.config.items() if k not in ("settings", "name")}) for run in runs]
    return template("sr_cli.training", "report.html").render(
        title=" and ".join(run.name for run in runs) if len(runs) < 4 else f"{len(runs)} runs",
        names=[run.name for run in runs],
        version=__version__,
        facts=table([run.facts() for run in runs]),
        comparable=all(run.bicubic == runs[0].bicubic for run in runs),
        charts=charts(runs),
        samples=[(run.name, samples(run.folder / "samples")) for run in runs],
        tables=[
            ("Energy", table(known)),
            *((("Settings that differ", [row for row in settings if differs(row)]),) if len(runs) > 1 else ()),
            ("Settings", [row for row in settings if len(runs) == 1 or not differs(row)]),
            ("Data, versions and history", table(rest)),
        ],
    )


def charts(runs: Sequence[TrainingRun]) -> list[Chart]:
    """The loss terms, the measures of the validations, the learning rate and the speed, as far as there are values.

    Those of one run have a curve for each loss term, those of several a curve for each run.
    """
    alone = len(runs) == 1
    tables = [found for run in runs for found in (run.metrics, run.validation)]
    across = Axis.over([0.0, *(step for found in tables for step in found.get("step", []))])

    def chart(title: str, curves: Iterable[Curve], *, bicubic: str = "", logarithmic: bool = False) -> Chart | None:
        drawn = tuple(curve for curve in curves if curve.points)
        references: dict[float, list[str]] = {}
        for run in runs if drawn else ():
            if bicubic in run.bicubic:
                references.setdefault(run.bicubic[bicubic], []).append(run.name)
        values = [value for curve in drawn for _, value in curve.points] + [*references]
        up = Axis.over(values, logarithmic=logarithmic)
        labels = [
            ("bicubic" if len(references) == 1 else f"bicubic, {', '.join(names)}", value)
            for value, names in references.items()
        ]
        return None if across is None or up is None else Chart(title, across, up, drawn, labels)

    def curve_of(run: TrainingRun, kind: str, name: str) -> Curve:
        found, above = getattr(run, kind), 0.0 if name in terms else -math.inf
        pairs = zip(found.get("step", []), found.get(name, []), strict=False)
        points = [(step, value) for step, value in pairs if math.isfinite(value) and value > above]
        color = terms.index(name) if alone and name in terms else list(runs).index(run)
        return Curve(name if alone else run.name, thin_out(points), color)

    columns = dict.fromkeys(name for run in runs for name in run.metrics)
    terms = [name for name in columns if name not in _NOT_LOSSES and not name.startswith("device_")]
    measured = dict.fromkeys(name for run in runs for name in run.validation if name in MEASURES)
    groups = {"loss terms, weighted": terms} if alone else {f"loss term {name}, weighted": [name] for name in terms}
    losses = (
        chart(title, (curve_of(run, "metrics", name) for name in names for run in runs), logarithmic=True)
        for title, names in groups.items()
    )
    drawn = (
        *(
            chart(
                f"validation, {MEASURES[name].heading}", (curve_of(r, "validation", name) for r in runs), bicubic=name
            )
            for name in measured
        ),
        *losses,
        chart("learning rate", (curve_of(run, "metrics", "lr") for run in runs)),
        chart("images per second", (curve_of(run, "metrics", "images_per_second") for run in runs)),
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


def table(columns: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, list[str]]]:
    """Rows of a label and what each column has for it, a dash if nothing."""
    found = [dict(column) for column in columns]
    labels = dict.fromkeys(label for column in columns for label, _ in column)
    return [(label, [column.get(label, "–") for column in found]) for label in labels]


def differs(row: tuple[str, list[str]]) -> bool:
    """Whether the columns of a row differ."""
    return len(set(row[1])) > 1


def thin_out(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most ``most`` points, each the mean of a group of neighbors."""
    size = -(-len(points) // most) or 1
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]
