"""Whether a report passes: thresholds, and the comparison with an older report. No torch at module level."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sr_cli.errors import UsageError, reading
from sr_cli.evaluation.measures import COSTS, MEASURES
from sr_cli.evaluation.result import EvaluationReport, find_measure, from_dict


@dataclass(frozen=True)
class Threshold:
    """A bound on the mean of every method under test."""

    measure: str
    side: Literal["min", "max"]
    bound: float

    def fails(self, value: float | None) -> bool:
        """Whether a mean is out of bounds, or missing."""
        return value is None or (value < self.bound if self.side == "min" else value > self.bound)


@dataclass(frozen=True)
class Change:
    """The difference of a method's mean from the baseline's.

    Attributes:
        old_name: its name in the baseline.
        worse: whether it is worse by more than the tolerance.
    """

    method: str
    old_name: str
    measure: str
    before: float
    now: float
    worse: bool


def parse_threshold(text: str, side: Literal["min", "max"]) -> Threshold:
    """Read ``psnr=31``; a `UsageError` for an unknown measure, or a bound that isn't a number."""
    measure, bound = _parse_assignment(text, f"--{side}")
    return Threshold(measure, side, bound)


def parse_tolerances(texts: Sequence[str]) -> dict[str, float]:
    """Read ``["psnr=0.05", "ssim=0.001"]``; a `UsageError` for an unknown measure, or what isn't 0 or more."""
    given = dict(_parse_assignment(text, "--tolerance") for text in texts)
    for measure, tolerance in given.items():
        if tolerance < 0:
            raise UsageError(f"--tolerance {measure}={tolerance:g}: a tolerance is 0 or more")
    return given


def failed_thresholds(report: EvaluationReport, thresholds: Sequence[Threshold]) -> list[str]:
    """A line for each threshold and each method under test that fails it."""
    lines = []
    for threshold in thresholds:
        for method in report.judged():
            value = report.value(method, threshold.measure)
            if threshold.fails(value):
                shown = find_measure(threshold.measure).text(value)
                side = "below" if threshold.side == "min" else "above"
                what = f"is {shown}, {side} {threshold.bound:g}" if value is not None else "could not be measured"
                lines.append(f"{threshold.measure} of {method} {what}")
    return lines


def read_report(path: Path) -> EvaluationReport:
    """Read what ``sr evaluate --json`` wrote; a `UsageError` if the file is missing or isn't such a report."""
    try:
        with reading(path, UsageError):
            return from_dict(json.loads(path.read_text("utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path}: not a report that `sr evaluate --json` wrote ({error})") from error


def compare(
    report: EvaluationReport, baseline: EvaluationReport, tolerance: dict[str, float] | None = None
) -> list[Change]:
    """The differences from an older report, for every method and measure that both have.

    Rows of the same name are compared. A new model usually comes in a file of a new name: if each report has exactly
    one model that the other lacks, these two are compared, too.

    Args:
        tolerance: by measure, in its unit, instead of the measure's own.

    Raises:
        UsageError: the two have different protocols, different pictures, or nothing under test in common.
    """
    if report.protocol != baseline.protocol:
        raise UsageError(f"the baseline has another protocol: {baseline.protocol}; now: {report.protocol}")
    if differing := {image.name for image in report.images} ^ {image.name for image in baseline.images}:
        some = ", ".join(sorted(differing)[:3])
        raise UsageError(f"the baseline has other pictures: {len(differing)} are in one only, such as {some}")
    allowed = {name: measure.tolerance for name, measure in {**MEASURES, **COSTS}.items()} | (tolerance or {})
    old_names = _old_names(report, baseline)
    if not any(method in old_names for method in report.judged()):
        rows = ", ".join(method.name for method in baseline.methods)
        raise UsageError(f"the baseline has no row for {', '.join(report.judged())}; it has {rows}")
    changes = []
    for method, old_name in old_names.items():
        for measure in (*(name for name in report.measures if name in baseline.measures), *COSTS):
            before, now = baseline.value(old_name, measure), report.value(method, measure)
            if before is not None and now is not None:
                badness = find_measure(measure).badness
                # Equal, they may be two infinities, whose difference is not a number.
                worse = before != now and badness(now) - badness(before) > allowed[measure] + 1e-12
                changes.append(Change(method, old_name, measure, before, now, worse))
    if not any(change.measure in MEASURES for change in changes):
        raise UsageError(f"the baseline has none of the metrics {', '.join(report.measures)}")
    return changes


def uncompared(report: EvaluationReport, baseline: EvaluationReport) -> list[str]:
    """A line for each kind of row or measure that only one of the two has, lest it seem unchanged."""
    old_names = _old_names(report, baseline)
    lines = {
        "not in the baseline": [m.name for m in report.methods if m.name not in old_names],
        "only in the baseline": [m.name for m in baseline.methods if m.name not in old_names.values()],
        "not measured in the baseline": [name for name in report.measures if name not in baseline.measures],
        "measured only in the baseline": [name for name in baseline.measures if name not in report.measures],
    }
    return [f"{', '.join(names)}: {where}" for where, names in lines.items() if names]


def _old_names(report: EvaluationReport, baseline: EvaluationReport) -> dict[str, str]:
    """The name of the baseline's row for each row that has one."""
    old = {method.name for method in baseline.methods}
    same = {method.name: method.name for method in report.methods if method.name in old}
    new_models, old_models = (
        [m.name for m in each.methods if m.kind == "model" and m.name not in same] for each in (report, baseline)
    )
    return {**same, new_models[0]: old_models[0]} if len(new_models) == len(old_models) == 1 else same


def _parse_assignment(text: str, option: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    name = name.strip().lower().replace("-", "_")
    if name not in MEASURES and name not in COSTS:
        raise UsageError(f"{option} {text}: unknown metric {name!r}; choose {', '.join([*MEASURES, *COSTS])}")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError(f"{option} {text}: write it like {option} {name}=1.5")
    return name, value
