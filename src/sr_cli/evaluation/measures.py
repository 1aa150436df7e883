"""The measures by name: what each says, which way is better, how many digits it is worth. No torch here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sr_cli.config import EvaluateConfig
from sr_cli.errors import UsageError

Better = Literal["higher", "lower", "near one", "up to one"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that is measured for every picture, or once for every method.

    Attributes:
        label: what it is called.
        better: which way is better.
        digits: decimals that are shown.
        tolerance: a change for the worse up to this is no change, see `sr_cli.evaluation.thresholds`.
        about: one line of explanation.
        unit: of its values.
    """

    name: str
    label: str
    better: Better
    digits: int
    tolerance: float
    about: str
    unit: str = ""

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
        """Whose value is best, as far as the digits shown tell; nobody's where there is nothing to choose."""
        badness = {name: self.badness(round(value, self.digits)) for name, value in values.items() if value is not None}
        best = {name for name, bad in badness.items() if bad <= min(badness.values()) + 1e-12}
        return best if len(best) < len(badness) else set()

    def text(self, value: float | None) -> str:
        """The value as people read it; ``–`` where there is none."""
        if value is None or math.isnan(value):
            return "–"
        return "∞" if math.isinf(value) else f"{value:,.{self.digits}f}"


def _by_name(*measures: Measure) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


MEASURES = _by_name(
    Measure(
        name="psnr", label="PSNR", unit="dB", better="higher", digits=2, tolerance=0.02,
        about="peak signal-to-noise ratio against HR",
    ),
    Measure(
        name="ssim", label="SSIM", better="higher", digits=4, tolerance=0.0005,
        about="structural similarity to HR",
    ),
    Measure(
        name="ms_ssim", label="MS-SSIM", better="higher", digits=4, tolerance=0.0005,
        about="SSIM on five scales; pictures below 161 pixels a side have none",
    ),
    Measure(
        name="dss", label="DSS", better="higher", digits=4, tolerance=0.002,
        about="DCT subband similarity on RGB; of the metrics without weights the one nearest to what people judge",
    ),
    Measure(
        name="haarpsi", label="HaarPSI", better="higher", digits=4, tolerance=0.002,
        about="Haar wavelet perceptual similarity on RGB",
    ),
    Measure(
        name="mdsi", label="MDSI", better="lower", digits=4, tolerance=0.002,
        about="mean deviation similarity index on RGB",
    ),
    Measure(
        name="gmsd", label="GMSD", better="lower", digits=4, tolerance=0.001,
        about="gradient magnitude similarity deviation on RGB",
    ),
    Measure(
        name="vif", label="VIF", better="higher", digits=4, tolerance=0.002,
        about="visual information fidelity in the pixel domain, on RGB",
    ),
    Measure(
        name="lpips", label="LPIPS", better="lower", digits=4, tolerance=0.002,
        about="learned perceptual distance through VGG-16, on RGB",
    ),
    Measure(
        name="dists", label="DISTS", better="lower", digits=4, tolerance=0.002,
        about="learned distance of structure and texture through VGG-16, on RGB",
    ),
    Measure(
        name="lr_psnr", label="LR-PSNR", unit="dB", better="higher", digits=2, tolerance=0.2,
        about="PSNR of SR, downsampled again, against LR: does it show what LR shows?",
    ),
    Measure(
        name="color_error", label="ΔE 2000", better="lower", digits=2, tolerance=0.02,
        about="mean CIEDE2000 color difference from HR; 1 is just visible",
    ),
    Measure(
        name="color_shift", label="shift", unit="/255", better="lower", digits=2, tolerance=0.1,
        about="how far the mean of the channel that is furthest off is from HR's: a color cast",
    ),
    Measure(
        name="sharpness", label="sharpness", better="near one", digits=2, tolerance=0.02,
        about="mean gradient magnitude over HR's: below 1 is blurred, above 1 is overdone",
    ),
    Measure(
        name="checkerboard", label="checkerboard", better="up to one", digits=2, tolerance=0.05,
        about="strength of a pattern of the scale's period over HR's: well above 1 is a checkerboard",
    ),
)  # fmt: skip
"""What is measured for every picture; the mean over the pictures is the method's."""

COSTS = _by_name(
    Measure(
        name="parameters", label="params", better="lower", digits=0, tolerance=0,
        about="trained numbers in the network",
    ),
    Measure(
        name="multiply_adds", label="MACs", unit="G/MP", better="lower", digits=1, tolerance=0,
        about="multiply-adds of convolutions and matrix products, 10⁹ for a megapixel of output",
    ),
    Measure(
        name="seconds", label="time", unit="s/MP", better="lower", digits=2, tolerance=math.inf,
        about="time to upscale, in seconds for a megapixel of output",
    ),
    Measure(
        name="peak_memory", label="memory", unit="MB", better="lower", digits=0, tolerance=math.inf,
        about="largest memory while upscaling, in 10⁶ bytes beyond what was there before",
    ),
)  # fmt: skip
"""What is known of every method that upscales here."""

QUICK = EvaluateConfig().measures
"""What is measured unless the caller asks for others: little time, no downloads."""


def measures_named(text: str) -> tuple[str, ...]:
    """Read what ``--metrics`` takes: names joined by commas, ``quick`` or ``all`` among them, in the order given.

    Raises:
        UsageError: a name that there isn't.
    """
    names: list[str] = []
    for part in text.replace(" ", "").lower().replace("-", "_").split(","):
        if part not in MEASURES and part not in ("quick", "all"):
            raise UsageError(f"no metric is called {part!r}; there are {', '.join(MEASURES)}, and quick and all")
        names += {"quick": list(QUICK), "all": list(MEASURES)}.get(part, [part])
    return tuple(dict.fromkeys(names))
