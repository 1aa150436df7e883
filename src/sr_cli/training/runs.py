"""A training as it lies in its folder: what it was, how far it came, and its curves. Imports no torch."""

import csv
import json
import math
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sr_cli.config import TrainConfig, duration, flag
from sr_cli.errors import TrainingError, parsing, reading
from sr_cli.evaluation.measures import MEASURES, Measure
from sr_cli.html import template
from sr_cli.system.packages import dataframe
from sr_cli.system.telemetry import EnergyReport

Table = dict[str, list[float]]
"""Columns of numbers by name; NaN where there is none."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A training as it lies in its folder; a notebook shows it with its curves.

    Attributes:
        folder: the folder, which also has ``report.html``.
        config: the content of ``config.json``: settings, versions, data, how it ended.
        metrics: losses, learning rate and speed by the step, see docs/explanation/run-folder.md.
        validation: measures on the held-out photos by the step.
        energy: what it consumed; ``None`` before its end.
    """

    folder: Path
    config: dict[str, Any] = field(repr=False)
    metrics: Table = field(repr=False)
    validation: Table = field(repr=False)
    energy: EnergyReport | None = field(repr=False)

    @classmethod
    def read(cls, folder: str | Path) -> "TrainingRun":
        """Read the files in the folder of a run; a `TrainingError` if it isn't one."""
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise TrainingError(f"{folder}: not the folder of a run; sr runs lists those in runs/")
        config = read_config(folder / "config.json")
        try:
            energy = EnergyReport(**json.loads(_text(folder / "energy.json")))
        except (OSError, ValueError, TypeError):
            energy = None
        metrics, validation = read_table(folder / "metrics.csv"), read_table(folder / "validation.csv")
        return cls(folder=folder, config=config, metrics=metrics, validation=validation, energy=energy)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name or str(self.folder.resolve().name)

    def is_of(self, folder: Path) -> bool:
        """Whether it was trained on the photos of a folder."""
        photos = self.config.get("data", {}).get("folder")
        return isinstance(photos, str) and Path(photos).resolve() == folder.resolve()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `TrainConfig`."""
        settings: dict[str, Any] = self.config["settings"]
        return settings

    @property
    def steps(self) -> int | None:
        """Steps done, as far as they were noted; ``None`` before the first note."""
        noted = [step for step in self.metrics.get("step", []) if math.isfinite(step)]
        return int(noted[-1]) if noted else None

    @property
    def weights(self) -> Path:
        """The file of its best weights, or of its last ones if it validated nothing."""
        best = self.folder / "best.safetensors"
        return best if best.is_file() else self.folder / "model.safetensors"

    @property
    def measure(self) -> Measure:
        """The measure that its best weights are chosen by."""
        return MEASURES.get(str(self.settings.get("best")), MEASURES["psnr"])

    @property
    def best(self) -> tuple[float, int] | None:
        """Value and step of the best validation."""
        return min(self._validations(), key=lambda found: self.measure.badness(found[0]), default=None)

    @property
    def last(self) -> tuple[float, int] | None:
        """Value and step of the last validation."""
        found = self._validations()
        return found[-1] if found else None

    @property
    def bicubic(self) -> dict[str, float]:
        """What bicubic interpolation reaches on the held-out photos, by measure; empty for runs of 0.1."""
        return self.config.get("bicubic") or {}

    def _validations(self) -> list[tuple[float, int]]:
        values = zip(self.validation.get(self.measure.name, []), self.validation.get("step", []), strict=False)
        return [(value, int(step)) for value, step in values if math.isfinite(value + step)]

    def facts(self) -> list[tuple[str, str]]:
        """What was trained, how it ended and what it reached, as labels and text."""
        settings, data = self.settings, self.config.get("data", {})
        origin = f", from {self.config['init']}" if self.config.get("init") else ""
        made = [("network", f"{settings.get('arch')} x{settings.get('scale')}{origin}")]
        if data.get("photos") is not None:
            made.append(("photos", f"{data['photos']} in {data.get('folder')}; LR: {settings.get('degradation')}"))
        made.append(("loss", str(settings.get("loss"))))
        if self.config.get("command"):
            made.append(("command", self.config["command"]))
        if self.config.get("time"):
            versions = self.config.get("versions", {})
            where = self.config.get("device", "an unknown device")
            made.append(
                ("began", f"{self.config['time']} on {where}, sr {versions.get('sr')}, torch {versions.get('torch')}")
            )
        found = [("ended", self.end())]
        for label, score in (("best", self.best), ("last", self.last)):
            if score is not None:
                found.append((label, f"{self.score(score[0])} at step {score[1]}"))
        if self.measure.name in self.bicubic:
            found.append(("bicubic", self.score(self.bicubic[self.measure.name])))
        return made + found

    def score(self, value: float) -> str:
        """A value of `measure` as text, such as ``PSNR 28.52 dB``."""
        return self.measure.labeled(value)

    def end(self) -> str:
        """How it ended, as a sentence."""
        ended = self.config.get("ended")
        if ended is None:
            return f"not yet, or it broke off: {self.steps or 0} steps are noted"
        by = " and ".join(limit_text(name, self.settings.get(name)) for name in ended["by"])
        why = f"by {by} at step {ended['step']}" if by else f"stopped by hand after step {ended['step']}"
        return f"{why}, in {timedelta(seconds=round(ended['seconds']))}"

    def to_dataframe(self) -> Any:
        """A ``pandas.DataFrame`` by the step: the columns of `metrics` and `validation`.

        Raises:
            SrError: pandas isn't installed.
        """
        found = dataframe({"step": [], **self.metrics})
        if self.validation:
            found = found.merge(dataframe(self.validation), on="step", how="outer")
        return found.astype({"step": int})

    def __str__(self) -> str:
        return "\n".join([str(self.folder), *(f"{label + ':':9} {value}" for label, value in self.facts())])

    def _repr_html_(self) -> str:
        from sr_cli.training.report import charts

        shown = [chart for chart in charts([self]) if chart.title.startswith(("loss", "validation"))]
        return template("sr_cli.training", "notebook.html").render(run=self, charts=shown)


_SHAPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("settings", "data", "bicubic", "versions", "ended"), dict),
    **dict.fromkeys(("command", "time", "device", "init", "loss_weights", "teacher"), str),
    "carbon_intensity": (int, float),
    "resumed": list,
}


def read_config(path: Path) -> dict[str, Any]:
    """The ``config.json`` of a run; a `TrainingError` if it is missing or damaged."""
    with reading(path, TrainingError), parsing(path, TrainingError):
        config: dict[str, Any] = json.loads(_text(path))
        for name, shape in _SHAPES.items():
            if config.get(name) is not None and not isinstance(config[name], shape):
                raise TypeError(f"{name} is {config[name]!r}")
        _ = config["settings"]["arch"], [dict(each) for each in config.get("resumed", [])]
        _ = [float(value) for value in (config.get("bicubic") or {}).values()]
        if ended := config.get("ended"):
            _ = timedelta(seconds=ended["seconds"]), int(ended["step"])
            _ = [TrainConfig.__dataclass_fields__[name] for name in ended["by"]]
    return config


def limit_text(name: str, value: Any) -> str:
    """A limit of a training as its option, such as ``--steps 1000``."""
    option = flag(TrainConfig.__dataclass_fields__[name])
    if not isinstance(value, (int, float)):  # of a damaged file
        return option
    return f"{option} {duration(value) if name == 'hours' else format(value, 'g')}"


def read_table(path: Path) -> Table:
    """The numeric columns of a CSV file; none if the file is missing."""
    try:
        text = _text(path)
    except OSError:
        return {}
    rows = list(csv.DictReader(text.splitlines()))
    columns = {name: [_number(row.get(name)) for row in rows] for name in (rows[0] if rows else ()) if name}
    return {name: values for name, values in columns.items() if not all(map(math.isnan, values))}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except (ValueError, TypeError):  # a list, where a row is longer than the header
        return math.nan


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
