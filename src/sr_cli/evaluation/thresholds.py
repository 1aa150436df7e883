"""Does a report pass? Thresholds, and the comparison with an older report. No torch here."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sr_cli.errors import UsageError
from sr_cli.evaluation.measures import COSTS, MEASURES
from sr_cli.evaluation.result import EvaluationReport, from_dict, measure_called


@dataclass(frozen=True)
class Threshold:
    """A bound that the mean of every judged method has to keep."""

    measure: str
    side: Literal["min", "max"]
    bound: float

    def broken_by(self, value: float | None) -> bool:
        if value is None:
            return True
        return value < self.bound if self.side == "min" else value > self.bound


@dataclass(frozen=True)
class Change:
    """How a method's mean differs from the baseline's.

    Attributes:
        method: the row's name.
        formerly: its name in the baseline.
        worse: whether it fell behind by more than is tolerated.
    """

    method: str
    formerly: str
    measure: str
    before: float
    now: float
    worse: bool


def threshold(text: str, side: Literal["min", "max"]) -> Threshold:
    """Read ``psnr=31``.

    Raises:
        UsageError: there is no such measure, or the bound is no number.
    """
    measure, bound = _assignment(text, f"--{side}")
    return Threshold(measure, side, bound)


def tolerances(texts: Sequence[str]) -> dict[str, float]:
    """Read ``["psnr=0.05", "ssim=0.001"]``.

    Raises:
        UsageError: as `threshold`, or a tolerance is below 0.
    """
    given = dict(_assignment(text, "--tolerance") for text in texts)
    for measure, tolerance in given.items():
        if not tolerance >= 0:
            raise UsageError(f"--tolerance {measure}={tolerance:g}: a tolerance is 0 or more")
    return given


def broken(report: EvaluationReport, thresholds: Sequence[Threshold]) -> list[str]:
    """A line for every threshold that a judged method doesn't keep."""
    lines = []
    for threshold in thresholds:
        for method in report.judged():
            value = report.value(method, threshold.measure)
            if threshold.broken_by(value):
                shown = measure_called(threshold.measure).text(value)
                side = "below" if threshold.side == "min" else "above"
                what = f"is {shown}, {side} {threshold.bound:g}" if value is not None else "could not be measured"
                lines.append(f"{threshold.measure} of {method} {what}")
    return lines


def read_report(path: Path) -> EvaluationReport:
    """Read what ``sr evaluate --json`` wrote.

    Raises:
        UsageError: the file is missing or isn't one.
    """
    try:
        return from_dict(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a report that `sr evaluate --json` wrote ({error})") from error


def changes(
    report: EvaluationReport, baseline: EvaluationReport, tolerance: dict[str, float] | None = None
) -> list[Change]:
    """What differs from an older report, for every method and measure that both have.

    Rows of the same name are compared; besides, the only other model with the baseline's only other model, since a new
    model comes in a file of a new name.

    Args:
        tolerance: by measure, in its unit, instead of the measure's own.

    Raises:
        UsageError: the two were not measured alike, not on the same pictures, or none of what is under test can be
            compared.
    """
    if report.protocol != baseline.protocol:
        raise UsageError(f"the baseline was measured otherwise: {baseline.protocol}; now: {report.protocol}")
    if differing := {image.name for image in report.images} ^ {image.name for image in baseline.images}:
        some = ", ".join(sorted(differing)[:3])
        raise UsageError(
            f"the baseline was measured on other pictures: {len(differing)} are in one only, such as {some}"
        )
    allowed = {name: measure.tolerance for name, measure in {**MEASURES, **COSTS}.items()} | (tolerance or {})
    partners = _partners(report, baseline)
    if not any(method in partners for method in report.judged()):
        rows = ", ".join(method.name for method in baseline.methods)
        raise UsageError(f"the baseline has no row for {', '.join(report.judged())}; it has {rows}")
    found = []
    for method, formerly in partners.items():
        for measure in (*(name for name in report.measures if name in baseline.measures), *COSTS):
            before, now = baseline.value(formerly, measure), report.value(method, measure)
            if before is not None and now is not None:
                worse = _is_worse(measure, before, now, allowed[measure])
                found.append(Change(method, formerly, measure, before, now, worse))
    if not any(change.measure in MEASURES for change in found):
        raise UsageError(f"the baseline has none of the metrics {', '.join(report.measures)}")
    return found


def uncompared(report: EvaluationReport, baseline: EvaluationReport) -> list[str]:
    """A line for each kind of thing that only one of the two has, so that nobody takes it for unchanged."""
    partners = _partners(report, baseline)
    lines = {
        "not in the baseline": [m.name for m in report.methods if m.name not in partners],
        "only in the baseline": [m.name for m in baseline.methods if m.name not in partners.values()],
        "not measured in the baseline": [name for name in report.measures if name not in baseline.measures],
        "measured in the baseline only": [name for name in baseline.measures if name not in report.measures],
    }
    return [f"{', '.join(names)}: {where}" for where, names in lines.items() if names]


def _partners(report: EvaluationReport, baseline: EvaluationReport) -> dict[str, str]:
    """The baseline's row for each row that has one."""
    old = {method.name for method in baseline.methods}
    same = {method.name: method.name for method in report.methods if method.name in old}
    news, olds = (
        [m.name for m in each.methods if m.kind == "model" and m.name not in same] for each in (report, baseline)
    )
    return {**same, news[0]: olds[0]} if len(news) == len(olds) == 1 else same


def _is_worse(measure: str, before: float, now: float, tolerance: float) -> bool:
    kind = measure_called(measure)
    if before == now:  # also two infinities, whose difference is no number
        return False
    return kind.badness(now) - kind.badness(before) > tolerance + 1e-12


def _assignment(text: str, option: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    name = name.strip().lower().replace("-", "_")
    if name not in MEASURES and name not in COSTS:
        raise UsageError(f"{option} {text}: no measure is called {name!r}; there are {', '.join([*MEASURES, *COSTS])}")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError(f"{option} {text}: write it like {option} {name}=1.5")
    return name, value
