"""What pages in one HTML file are made of: Jinja templates, pictures as data URLs, the axes of SVG charts."""

import base64
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template


@functools.cache
def template(package: str, name: str) -> Template:
    """The Jinja template ``name`` among a package's files; values are escaped, and an undefined one is an error."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(resources.files(package).joinpath(name).read_text("utf-8"))


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
