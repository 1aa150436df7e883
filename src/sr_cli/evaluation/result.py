"""The result of an evaluation, as plain data. No torch at module level."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Literal

from sr_cli import __version__
from sr_cli.errors import ImageError
from sr_cli.evaluation.measures import COSTS, MEASURES, Measure
from sr_cli.system.packages import dataframe
from sr_cli.system.quantities import pictures

FORMAT = "sr-cli evaluation 1"

RENAMED = {"mesh": "checkerboard", "consistency": "lr_psnr"}
"""Measures that older reports call by other names."""

MethodKind = Literal["interpolation", "model", "folder"]


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How the figures were measured: those of different protocols don't belong in one table.

    Attributes:
        channel: ``y`` (luma) or ``rgb``, for PSNR, SSIM, MS-SSIM and LR-PSNR.
        shave: width of the border that is ignored, in pixels.
        lr: ``bicubic``, ``paper``, ``photo`` or ``real``, if LR was made from HR, else ``given``; ``pictures`` if there
            is no HR.
        seed: of ``real``.
    """

    scale: int
    channel: Literal["y", "rgb"]
    shave: int
    lr: Literal["bicubic", "paper", "photo", "real", "given", "pictures"]
    seed: int | None = None

    def __str__(self) -> str:
        if self.lr == "pictures":
            return f"x{self.scale}, without HR"
        how = self.lr if self.seed is None else f"{self.lr}, seed {self.seed}"
        lr = "LR as given" if self.lr == "given" else f"LR made from HR ({how})"
        channel = "Y" if self.channel == "y" else "RGB"
        return f"x{self.scale}, on {channel}, {self.shave} pixels shaved off every side, 8 bit; {lr}"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method costs; ``None`` if it isn't known.

    Attributes:
        parameters: numbers in the network.
        multiply_adds: 10⁹ per megapixel of output.
        seconds: per megapixel of output.
        peak_memory: 10⁶ bytes.
    """

    parameters: float | None = None
    multiply_adds: float | None = None
    seconds: float | None = None
    peak_memory: float | None = None


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One row: a method, and what it costs."""

    name: str
    kind: MethodKind
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """One picture: ``scores[method][measure]``, ``None`` if a measure has no value for it."""

    name: str
    width: int
    height: int
    scores: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A file that could not be measured; no mean includes it."""

    file: str
    reason: str


class NothingMeasuredError(ImageError):
    """No picture could be measured; ``failures`` lists every file with its reason, the message names the first."""

    def __init__(self, failures: Sequence[Failure], problem: str) -> None:
        super().__init__(f"{failures[0].file}: {failures[0].reason}; {problem}")
        self.failures = tuple(failures)


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """The whole result.

    Attributes:
        source: the HR folder.
        measures: names from `MEASURES`, in the order of the columns.
        unavailable: measures that could not be computed on this machine, with the reason.
        notes: what else a reader has to know.
    """

    protocol: EvaluationProtocol
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
        return pictures(len(self.images))

    def values(self, method: str, measure: str) -> list[float]:
        """The values of the pictures that have one."""
        scores = (image.scores[method].get(measure) for image in self.images)
        return [value for value in scores if value is not None]

    def value(self, method: str, measure: str) -> float | None:
        """The mean over the pictures, or the cost; ``None`` if there is none."""
        if measure in COSTS:
            cost: float | None = getattr(next(m.cost for m in self.methods if m.name == method), measure)
            return cost
        values = self.values(method, measure)
        return fmean(values) if values else None

    @property
    def columns(self) -> tuple[Measure, ...]:
        """The measures, then the costs that are known of at least one method."""
        costs = (c for c in COSTS.values() if any(self.value(m.name, c.name) is not None for m in self.methods))
        return (*(MEASURES[name] for name in self.measures), *costs)

    def judged(self) -> tuple[str, ...]:
        """The methods under test: models and SR folders; all, if there are none of these."""
        names = tuple(method.name for method in self.methods if method.kind != "interpolation")
        return names or tuple(method.name for method in self.methods)

    def to_dataframe(self) -> Any:
        """A ``pandas.DataFrame`` with a row for every picture and method: ``image``, ``method``, the measures.

        Raises:
            SrError: pandas isn't installed.
        """
        rows = [(image, method.name) for image in self.images for method in self.methods]
        scores = {name: [image.scores[method].get(name) for image, method in rows] for name in self.measures}
        return dataframe({"image": [image.name for image, _ in rows], "method": [name for _, name in rows], **scores})

    def __repr__(self) -> str:
        from sr_cli.evaluation.report.table import mean_rows, remarks

        rows = [["", *(column.heading for column in self.columns)]]
        rows += [[row.method, *(cell.text + " *"[cell.best] for cell in row.cells)] for row in mean_rows(self)]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        table = ("  ".join(map(str.rjust, row, widths)).rstrip() for row in rows)
        return "\n".join([f"{self.count} of {self.source}: {self.protocol}", *table, *remarks(self)])

    def _repr_html_(self) -> str:
        from sr_cli.evaluation.report.table import mean_rows, remarks
        from sr_cli.html import template

        page = template("sr_cli.evaluation.report", "notebook.html")
        return page.render(report=self, rows=mean_rows(self), remarks=remarks(self))


def find_measure(name: str) -> Measure:
    """The measure or cost of that name."""
    return MEASURES.get(name) or COSTS[name]


def as_dict(report: EvaluationReport) -> dict[str, Any]:
    """The report as it is in JSON: infinite values are the text ``"inf"``, missing ones ``null``."""
    return {
        "format": FORMAT,
        "version": __version__,
        "source": report.source,
        "protocol": asdict(report.protocol),
        "measures": list(report.measures),
        "unavailable": dict(report.unavailable),
        "methods": [
            {
                "name": method.name,
                "kind": method.kind,
                "mean": _encode({name: report.value(method.name, name) for name in report.measures}),
                "cost": _encode(asdict(method.cost)),
            }
            for method in report.methods
        ],
        "images": [
            {**asdict(image), "scores": {method: _encode(scores) for method, scores in image.scores.items()}}
            for image in report.images
        ],
        "failures": [asdict(failure) for failure in report.failures],
        "notes": list(report.notes),
    }


def from_dict(content: Mapping[str, Any]) -> EvaluationReport:
    """The report that `as_dict` described; measures get their present names.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it isn't one.
    """
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, not {FORMAT!r}")
    return EvaluationReport(
        protocol=EvaluationProtocol(**content["protocol"]),
        source=content["source"],
        measures=tuple(RENAMED.get(name, name) for name in content["measures"]),
        unavailable={RENAMED.get(name, name): reason for name, reason in content["unavailable"].items()},
        methods=tuple(
            MethodResult(name=method["name"], kind=method["kind"], cost=Cost(**_decode(method["cost"])))
            for method in content["methods"]
        ),
        images=tuple(
            ImageResult(**{**image, "scores": {method: _decode(found) for method, found in image["scores"].items()}})
            for image in content["images"]
        ),
        failures=tuple(Failure(**failure) for failure in content["failures"]),
        notes=tuple(content["notes"]),
    )


def _encode(values: Mapping[str, float | None]) -> dict[str, float | str | None]:
    return {name: "inf" if value is not None and math.isinf(value) else value for name, value in values.items()}


def _decode(values: Mapping[str, float | str | None]) -> dict[str, float | None]:
    return {RENAMED.get(name, name): None if value is None else float(value) for name, value in values.items()}
