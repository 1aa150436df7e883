"""The measures by name: what each says, its direction, its digits, its function. No torch at module level.

To add a measure, write its function and add a `Measure` to `MEASURES`.
"""

import importlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sr_cli.config import EvaluateConfig
from sr_cli.errors import UsageError, WeightsError

Better = Literal["higher", "lower", "near one", "up to one"]


@dataclass(frozen=True)
class Measure:
    """A number for each picture, or a cost of each method.

    Attributes:
        function: what computes it, such as ``fidelity.psnr`` in `sr_cli.metrics`; imported when it is needed. It takes
            what it needs by name, out of ``sr``, ``hr``, ``lr`` (see `sr_cli.evaluation.samples.Sample`), ``shave``,
            ``scale``, ``channel`` and ``degradation`` (see `EvaluateConfig`), and raises ``ValueError`` for a picture
            that has no value. Empty for costs.
        tolerance: a change for the worse that still passes, see `sr_cli.evaluation.thresholds`.
    """

    name: str
    label: str
    better: Better
    function: str
    about: str
    unit: str = ""
    digits: int = 4
    tolerance: float = 0.002

    @property
    def heading(self) -> str:
        """Label, unit, and which way is better: ``PSNR dB ↑``."""
        arrow = {"higher": "↑", "lower": "↓", "near one": "→1", "up to one": "≤1"}[self.better]
        return " ".join(filter(None, (self.label, self.unit, arrow)))

    def badness(self, value: float) -> float:
        """A number that is the smaller the better ``value`` is."""
        if self.better == "near one":
            return abs(value - 1)
        if self.better == "up to one":
            return max(0.0, value - 1)
        return value if self.better == "lower" else -value

    def winners(self, values: Mapping[str, float | None]) -> set[str]:
        """The names with the best value, to the digits shown; none if all are equally good."""
        badness = {name: self.badness(round(value, self.digits)) for name, value in values.items() if value is not None}
        best = {name for name, bad in badness.items() if bad <= min(badness.values()) + 1e-12}
        return best if len(best) < len(badness) else set()

    def text(self, value: float | None) -> str:
        """The value for people; ``–`` if there is none."""
        if value is None or math.isnan(value):
            return "–"
        return "∞" if math.isinf(value) else f"{value:,.{self.digits}f}"

    def labeled(self, value: float | None) -> str:
        """The value with its label and unit, such as ``PSNR 28.52 dB``."""
        return f"{self.label} {self.text(value)} {self.unit}".rstrip()

    def compute(self, inputs: Mapping[str, object]) -> float:
        """The value for one picture.

        Args:
            inputs: everything that ``function`` may take, by name.

        Raises:
            UnavailableError: it cannot be computed on this machine.
            ValueError: it has no value for this picture.
        """
        module, name = self.function.split(".")
        try:
            function = getattr(importlib.import_module(f"sr_cli.metrics.{module}"), name)
        except Exception as error:  # torch and torchvision of different builds raise RuntimeError when imported
            raise UnavailableError(f"a library cannot be imported ({type(error).__name__}: {error})") from error
        try:
            value = float(function(**{name: inputs[name] for name in inspect.signature(function).parameters}))
        except WeightsError as error:
            raise UnavailableError(str(error)) from error
        is_ratio = self.better in ("near one", "up to one")
        if math.isnan(value) or (math.isinf(value) and is_ratio):
            raise ValueError("HR is flat" if is_ratio else "HR is too small or flat for it")
        return value


class UnavailableError(Exception):
    """A measure lacks a library or weights; the message says which."""


def _by_name(*measures: Measure) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


MEASURES = _by_name(
    Measure("psnr", "PSNR", "higher", "fidelity.psnr",
            "peak signal-to-noise ratio against HR", "dB", digits=2, tolerance=0.02),
    Measure("ssim", "SSIM", "higher", "fidelity.ssim", "structural similarity to HR", tolerance=0.0005),
    Measure("ms_ssim", "MS-SSIM", "higher", "perceptual.ms_ssim",
            "SSIM on five scales; none for pictures below 161 pixels a side", tolerance=0.0005),
    Measure("dss", "DSS", "higher", "perceptual.dss",
            "DCT subband similarity on RGB; of the metrics without weights the closest to human judgment"),
    Measure("haarpsi", "HaarPSI", "higher", "perceptual.haarpsi", "Haar wavelet perceptual similarity on RGB"),
    Measure("mdsi", "MDSI", "lower", "perceptual.mdsi", "mean deviation similarity index on RGB"),
    Measure("gmsd", "GMSD", "lower", "perceptual.gmsd",
            "gradient magnitude similarity deviation on RGB", tolerance=0.001),
    Measure("vif", "VIF", "higher", "perceptual.vif", "visual information fidelity in the pixel domain, on RGB"),
    Measure("lpips", "LPIPS", "lower", "learned.lpips", "learned perceptual distance through VGG-16, on RGB"),
    Measure("dists", "DISTS", "lower", "learned.dists",
            "learned distance of structure and texture through VGG-16, on RGB"),
    Measure("niqe", "NIQE", "lower", "niqe.niqe",
            "distance of local statistics from those of sharp photos, without HR; none below half a megapixel",
            digits=2, tolerance=0.05),
    Measure("lr_psnr", "LR-PSNR", "higher", "fidelity.lr_psnr",
            "PSNR of SR, downsampled again, against LR: does it show what LR shows?", "dB", digits=2, tolerance=0.2),
    Measure("color_error", "ΔE 2000", "lower", "color_difference.color_error",
            "mean CIEDE2000 color difference from HR; 1 is just visible", digits=2, tolerance=0.02),
    Measure("color_shift", "shift", "lower", "color_difference.color_shift",
            "distance of a channel's mean from HR's, for the channel furthest off: a color cast", "/255",
            digits=2, tolerance=0.1),
    Measure("sharpness", "sharpness", "near one", "texture.sharpness",
            "mean gradient magnitude over HR's: below 1 is blurred, above 1 is overdone", digits=2, tolerance=0.02),
    Measure("checkerboard", "checkerboard", "up to one", "texture.checkerboard",
            "strength of a pattern with the scale's period, over HR's: visible well above 1", digits=2, tolerance=0.05),
)  # fmt: skip
"""The measures of each picture; a method's value is the mean over the pictures."""

COSTS = _by_name(
    Measure("parameters", "params", "lower", "", "trained numbers in the network", digits=0, tolerance=0),
    Measure("multiply_adds", "MACs", "lower", "",
            "multiply-adds of convolutions and matrix products, in 10⁹ per megapixel of output", "G/MP",
            digits=1, tolerance=0),
    Measure("seconds", "time", "lower", "",
            "time to upscale, in seconds per megapixel of output", "s/MP", digits=2, tolerance=math.inf),
    Measure("peak_memory", "memory", "lower", "",
            "largest memory while upscaling, in 10⁶ bytes above the level before", "MB", digits=0, tolerance=math.inf),
)  # fmt: skip
"""What each method that upscales here costs."""

QUICK = EvaluateConfig().measures
"""What is measured by default: quick, without downloads."""

NO_REFERENCE = ("niqe", "lr_psnr")
"""What can be measured without HR."""


def without_reference(measures: tuple[str, ...]) -> tuple[str, ...]:
    """`NO_REFERENCE` in place of `QUICK`, all other measures as they are; a `UsageError` if one of them needs HR."""
    if measures == QUICK:
        return NO_REFERENCE
    for name in measures:
        if name not in NO_REFERENCE:
            raise UsageError(f"{name} needs HR; without it, only {' and '.join(NO_REFERENCE)} can be measured")
    return measures


def parse_measures(text: str) -> tuple[str, ...]:
    """Read names, ``quick`` or ``all``, separated by commas; the order is kept. A `UsageError` for an unknown name."""
    names: list[str] = []
    for part in text.replace(" ", "").lower().replace("-", "_").split(","):
        if part not in MEASURES and part not in ("quick", "all"):
            raise UsageError(f"unknown metric {part!r}; choose {', '.join(MEASURES)}, quick or all")
        names += {"quick": list(QUICK), "all": list(MEASURES)}.get(part, [part])
    return tuple(dict.fromkeys(names))
