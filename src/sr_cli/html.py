"""What pages in one HTML file are made of: Jinja templates, pictures as data URLs, the axes of SVG charts."""

import base64
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@functools.cache
def template(package: str, name: str) -> Template:
    """The Jinja template ``name`` among a package's files; values are escaped, and an undefined one is an error."""
    environment = Environment(
        loader=PackageLoader(package, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(name)


def data_url(content: bytes, media_type: str) -> str:
    """A file as the ``src`` of a picture: ``data:image/png;base64,…``."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Axis:
    """The axis of a chart, from the lowest to the highest value that it shows."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Iterable[float], *, logarithmic: bool = False) -> "Axis | None":
        """The axis for these values; ``None`` if there is nothing to show.

        Values that aren't finite are ignored, and on a logarithmic axis those that aren't above 0.
        """
        shown = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
        return cls(min(shown), max(shown), logarithmic) if shown else None

    def position(self, value: float | None) -> float | None:
        """Where a value lies, from 0 (``low``) to 1 (``high``); ``None`` for one that cannot be shown."""
        if value is None or not math.isfinite(value) or (self.logarithmic and value <= 0):
            return None
        scaled = math.log if self.logarithmic else float
        return (scaled(value) - scaled(self.low)) / ((scaled(self.high) - scaled(self.low)) or 1.0)

    def scaled(self, value: float) -> float:
        """What a straight ruler along the axis measures: the value, or its decadic logarithm."""
        return math.log10(value) if self.logarithmic else value

    def ticks(self, most: int = 6) -> list[float]:
        """Round values on the axis, at most ``most`` and evenly spread; the only value, if there is no other."""
        if self.low == self.high:
            return [self.low]
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for factors in ((1, 2, 5), (1, 3), (1,)):
                found = [f * 10.0**d for d in decades for f in factors if self.low <= f * 10.0**d <= self.high]
                if 2 < len(found) <= most:
                    return found
            if len(found) > most:
                return found[:: math.ceil(len(found) / most)]
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        digits = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [round(i * step, digits) for i in range(first, last + 1)]
