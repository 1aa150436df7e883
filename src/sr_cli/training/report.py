"""The report of a training run: one HTML file out of the files in its folder."""

import base64
import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from sr_cli import __version__
from sr_cli.errors import TrainingError
from sr_cli.system.atomic_files import write_atomically

MOST_POINTS = 600
"""Points in one curve; of longer ones neighbouring values are averaged."""

MOST_SAMPLES = 24
"""Sample pictures that are put into the page, evenly over the run, the last one always."""

WIDTH, HEIGHT = 640, 220  # of a chart, in its own units

_NOT_LOSSES = {"step", "epoch", "seconds", "lr", "images_per_second", "loading"}


@dataclass(frozen=True)
class Curve:
    """A line in a chart: its name, its last value as text, and its points as SVG has them."""

    name: str
    last: str
    points: str


@dataclass(frozen=True)
class Chart:
    """Curves over the steps; ``low`` and ``high`` are the values at the bottom and the top."""

    title: str
    low: str
    high: str
    first_step: int
    last_step: int
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Sample:
    """A picture of the fixed validation crops after some step, as a data URL."""

    step: int
    source: str


def write_report(run: Path) -> Path:
    """Write ``report.html`` into the folder of a run; it loads nothing and shows what there is so far.

    Reads ``config.json`` and ``metrics.csv``, and, where they exist, ``validation.csv``, ``energy.json`` and
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
    page = _template().render(
        name=run.name,
        version=__version__,
        charts=[chart for chart in charts(metrics, validation) if chart is not None],
        samples=samples(run / "samples"),
        energy=energy_rows(energy, epochs=epochs, g_per_kwh=config.get("carbon_intensity")) if energy else [],
        settings=flattened(config),
        width=WIDTH,
        height=HEIGHT,
    )
    write_atomically(run / "report.html", page)
    return run / "report.html"


def read_table(path: Path) -> dict[str, list[float]]:
    """The numeric columns of a CSV file; an empty or missing value is NaN, a missing file no columns."""
    rows = list(csv.DictReader(_text(path).splitlines()))
    columns: dict[str, list[float]] = {}
    for name in rows[0] if rows else ():
        values = [_number(row.get(name)) for row in rows]
        if not all(map(math.isnan, values)):
            columns[name] = values
    return columns


def charts(metrics: dict[str, list[float]], validation: dict[str, list[float]]) -> list[Chart | None]:
    """The loss terms, PSNR and SSIM by validation, learning rate and speed; ``None`` for what has no values."""
    steps = metrics.get("step", [])
    device_columns = [name for name in metrics if name.startswith("device_")]
    losses = {k: v for k, v in metrics.items() if k not in _NOT_LOSSES and k not in device_columns}
    checked = validation.get("step", [])
    return [
        _chart("loss, each term weighted", steps, losses, logarithmic=True),
        _chart("validation, PSNR on Y (dB)", checked, {k: v for k, v in validation.items() if k == "psnr"}),
        _chart("validation, SSIM on Y", checked, {k: v for k, v in validation.items() if k == "ssim"}),
        _chart("learning rate", steps, {k: v for k, v in metrics.items() if k == "lr"}),
        _chart("images a second", steps, {k: v for k, v in metrics.items() if k == "images_per_second"}),
    ]


def samples(folder: Path) -> list[Sample]:
    """The sample pictures, at most `MOST_SAMPLES` of them, in the order of their steps."""
    found = sorted((int(path.stem.removeprefix("step-")), path) for path in folder.glob("step-*.png"))
    if len(found) > MOST_SAMPLES:
        last = len(found) - 1
        found = [found[round(i * last / (MOST_SAMPLES - 1))] for i in range(MOST_SAMPLES)]
    return [
        Sample(step, "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()) for step, path in found
    ]


def flattened(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as rows of dotted names and values as text; ``None`` becomes a dash."""
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in flattened(inner, f"{name}.{key}" if name else key)]
    return [(name, "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value))]


def energy_rows(energy: Mapping[str, Any], *, epochs: float, g_per_kwh: float | None = None) -> list[tuple[str, str]]:
    """What a run has consumed so far, as labels and values with their units.

    Args:
        energy: an `EnergyReport` as a dictionary; what is missing or ``None`` is "unavailable", never 0.
        epochs: how many it was consumed in; NaN where that isn't known.
        g_per_kwh: grams of CO2e a kilowatt-hour; without it there is no row for CO2e.
    """

    def told(value: float | None, form: str) -> str:
        return "unavailable" if value is None or not math.isfinite(value) else form.format(value)

    def of(name: str, form: str, *, times: float = 1) -> str:
        value = energy.get(name)
        return told(value if value is None else times * value, form)

    watt_hours = energy.get("watt_hours")
    watts, mib, mebi = "{:.4g} W", "{:.0f} MiB", 1 / 2**20
    grams = watt_hours if watt_hours is None or g_per_kwh is None else watt_hours / 1000 * g_per_kwh
    rows = [
        ("device", energy.get("device") or "unavailable"),
        ("time", of("seconds", "{:.0f} s")),
        ("power before the run", of("idle_watts", watts)),
        ("power, mean", of("mean_watts", watts)),
        ("power, peak", of("peak_watts", watts)),
        ("memory before the run", of("idle_memory", mib, times=mebi)),
        ("memory, mean", of("mean_memory", mib, times=mebi)),
        ("memory, peak", of("peak_memory", mib, times=mebi)),
        ("utilization, mean", of("mean_utilization", "{:.0%}")),
        ("energy", of("watt_hours", "{:.4g} Wh")),
        ("energy an epoch", told(watt_hours / epochs if watt_hours is not None and epochs else None, "{:.4g} Wh")),
        ("measured for", told(energy.get("measured_seconds") or None, "{:.0f} s")),
        ("measured by", energy.get("method") or "unavailable"),
    ]
    return rows if g_per_kwh is None else [*rows, ("CO2e", told(grams, "{:.4g} g") + f" at {g_per_kwh:g} g/kWh")]


def _chart(
    title: str, steps: Sequence[float], columns: dict[str, list[float]], *, logarithmic: bool = False
) -> Chart | None:
    finite = [value for column in columns.values() for value in column if math.isfinite(value)]
    if logarithmic:
        finite = [value for value in finite if value > 0]
    if not finite or not steps:
        return None
    low, high = min(finite), max(finite)
    scale = math.log if logarithmic else float
    bottom, span = scale(low), (scale(high) - scale(low)) or 1.0
    first, last = steps[0], steps[-1]

    def place(step: float, value: float) -> str:
        x = WIDTH * (step - first) / ((last - first) or 1)
        return f"{x:.1f},{HEIGHT * (1 - (scale(value) - bottom) / span):.1f}"

    curves = []
    for name, values in columns.items():
        drawn = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v) and (v > 0 or not logarithmic)]
        if drawn:
            points = [place(step, value) for step, value in thinned(drawn)]
            if len(points) == 1:
                points *= 2  # a line of no length, which its round ends make a dot
            curves.append(Curve(name, f"{drawn[-1][1]:.4g}", " ".join(points)))
    return Chart(title, f"{low:.4g}", f"{high:.4g}", int(first), int(last), tuple(curves))


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most ``most`` points: neighbours are averaged."""
    group = -(-len(points) // most)
    groups = (points[i : i + group] for i in range(0, len(points), group))
    return [(_mean(p[0] for p in part), _mean(p[1] for p in part)) for part in groups]


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(
        resources.files("sr_cli.training").joinpath("report.html").read_text(encoding="utf-8")
    )
