"""What an evaluation found, as plain data. No torch here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from sr_cli import __version__
from sr_cli.errors import ImageError
from sr_cli.evaluation.measures import COSTS, MEASURES, Measure

FORMAT = "sr-cli evaluation 1"

Kind = Literal["interpolation", "model", "folder"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How was measured: figures of different protocols don't belong in one table.

    Attributes:
        scale: HR over LR.
        channel: ``y`` (luma) or ``rgb``, for PSNR, SSIM, MS-SSIM and consistency.
        shave: pixels that don't count, at every side.
        lr: where LR came from: ``bicubic``, ``paper``, ``photo`` (made from HR) or ``given`` (a folder).
    """

    scale: int
    channel: Literal["y", "rgb"]
    shave: int
    lr: Literal["bicubic", "paper", "photo", "given"]

    def __str__(self) -> str:
        lr = "LR as given" if self.lr == "given" else f"LR made from HR ({self.lr})"
        channel = "Y" if self.channel == "y" else "RGB"
        return f"x{self.scale}, on {channel}, {self.shave} pixels shaved off every side, 8 bit; {lr}"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method takes; ``None`` where it isn't known.

    Attributes:
        parameters: numbers in the network.
        multiply_adds: 10⁹ for a megapixel of output.
        seconds: for a megapixel of output.
        peak_memory: 10⁶ bytes.
    """

    parameters: float | None = None
    multiply_adds: float | None = None
    seconds: float | None = None
    peak_memory: float | None = None


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One row: a way to get SR, and what it takes."""

    name: str
    kind: Kind
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """One picture: ``scores[method][measure]``, ``None`` where a measure has no value for it."""

    name: str
    width: int
    height: int
    scores: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A file, or a pair of files, that could not be measured and counts nowhere."""

    file: str
    reason: str


class NothingMeasuredError(ImageError):
    """No picture could be measured; ``failures`` has every file with its reason, the message the first."""

    def __init__(self, failures: Sequence[Failure], problem: str) -> None:
        super().__init__(f"{failures[0].file}: {failures[0].reason}; {problem}")
        self.failures = tuple(failures)


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """The whole result.

    Attributes:
        source: the HR folder.
        measures: names out of `MEASURES`, in the order of the columns.
        unavailable: measures that could not be computed at all, with the reason.
        notes: what a reader has to know besides.
    """

    protocol: Protocol
    source: str
    measures: tuple[str, ...]
    methods: tuple[MethodResult, ...]
    images: tuple[ImageResult, ...]
    failures: tuple[Failure, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> str:
        """How many pictures were measured, in words."""
        return f"{len(self.images)} picture{'' if len(self.images) == 1 else 's'}"

    def values(self, method: str, measure: str) -> list[float]:
        """What ``measure`` gave for the pictures that have a value."""
        scores = (image.scores[method].get(measure) for image in self.images)
        return [value for value in scores if value is not None]

    def value(self, method: str, measure: str) -> float | None:
        """The mean over the pictures, or the cost; ``None`` where there is none."""
        if measure in COSTS:
            cost: float | None = getattr(next(m.cost for m in self.methods if m.name == method), measure)
            return cost
        values = self.values(method, measure)
        return fmean(values) if values else None

    @property
    def columns(self) -> tuple[Measure, ...]:
        """The measures, then the costs that at least one method has."""
        costs = (c for c in COSTS.values() if any(self.value(m.name, c.name) is not None for m in self.methods))
        return (*(MEASURES[name] for name in self.measures), *costs)

    def judged(self) -> tuple[str, ...]:
        """The methods under test: models and SR folders; without any, all."""
        names = tuple(method.name for method in self.methods if method.kind != "interpolation")
        return names or tuple(method.name for method in self.methods)


def measure_called(name: str) -> Measure:
    """The measure or cost of that name."""
    return MEASURES.get(name) or COSTS[name]


def as_dict(report: EvaluationReport) -> dict[str, Any]:
    """The report as JSON has it: infinite values are the text ``"inf"``, missing ones ``null``."""
    methods = [
        {
            "name": method.name,
            "kind": method.kind,
            "mean": {name: _out(report.value(method.name, name)) for name in report.measures},
            "cost": {name: _out(report.value(method.name, name)) for name in COSTS},
        }
        for method in report.methods
    ]
    images = [
        {
            "name": image.name,
            "width": image.width,
            "height": image.height,
            "scores": {m: {k: _out(v) for k, v in scores.items()} for m, scores in image.scores.items()},
        }
        for image in report.images
    ]
    return {
        "format": FORMAT,
        "version": __version__,
        "source": report.source,
        "protocol": {name: getattr(report.protocol, name) for name in ("scale", "channel", "shave", "lr")},
        "measures": list(report.measures),
        "unavailable": dict(report.unavailable),
        "methods": methods,
        "images": images,
        "failures": [{"file": failure.file, "reason": failure.reason} for failure in report.failures],
        "notes": list(report.notes),
    }


def from_dict(content: Mapping[str, Any]) -> EvaluationReport:
    """The report that `as_dict` described.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it isn't one.
    """
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, not {FORMAT!r}")
    return EvaluationReport(
        protocol=Protocol(**content["protocol"]),
        source=content["source"],
        measures=tuple(content["measures"]),
        unavailable=content["unavailable"],
        methods=tuple(
            MethodResult(name=m["name"], kind=m["kind"], cost=Cost(**{k: _in(v) for k, v in m["cost"].items()}))
            for m in content["methods"]
        ),
        images=tuple(
            ImageResult(
                name=image["name"],
                width=image["width"],
                height=image["height"],
                scores={m: {k: _in(v) for k, v in scores.items()} for m, scores in image["scores"].items()},
            )
            for image in content["images"]
        ),
        failures=tuple(Failure(**failure) for failure in content["failures"]),
        notes=tuple(content["notes"]),
    )


def _out(value: float | None) -> float | str | None:
    return "inf" if value is not None and math.isinf(value) else value


def _in(value: float | str | None) -> float | None:
    return None if value is None else float(value)
