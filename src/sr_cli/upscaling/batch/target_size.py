"""How large a result shall be, and which network leads there."""

import math
import re
from dataclasses import dataclass

from sr_cli.config import DEFAULT_MODEL, LARGEST_SCALE

_PIXELS = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)(?:P|px)?")
_SIZE = re.compile(r"(\d+)\s*[x×X]\s*(\d+)")
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, kw_only=True)
class Target:
    """The size that was asked for: a factor, or pixels, and a limit on top of either.

    Attributes:
        scale: result over input, along each side; ``None``: the network's own, unless another size is asked for.
        size: width and height exactly, whatever the proportions.
        width: pixels; the proportions stay. With ``height`` too, the result is the largest that fits into both.
        height: see ``width``.
        max_pixels: the most pixels that the result may have; larger ones are reduced to it.
    """

    scale: float | None = None
    size: tuple[int, int] | None = None
    width: int | None = None
    height: int | None = None
    max_pixels: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not (0 < self.scale <= LARGEST_SCALE):
            raise ValueError(f"scale must be above 0 and at most {LARGEST_SCALE}, not {self.scale:g}")
        for name in ("width", "height", "max_pixels"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name.replace('_', '-')} must be 1 or more, not {value:g}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be 1 × 1 or more, not {self.size[0]} × {self.size[1]}")
        asked = [self.scale is not None, self.size is not None, self.width is not None or self.height is not None]
        if sum(asked) > 1:
            raise ValueError("--scale, --size and --width or --height exclude each other")

    @property
    def is_factor(self) -> bool:
        """Whether the result's size is a multiple of the input's, the same for every picture."""
        return self.size is None and self.width is None and self.height is None and self.max_pixels is None

    def of(self, width: int, height: int, *, scale: int) -> tuple[int, int]:
        """Width and height of the result for an input of ``width`` × ``height``.

        Args:
            scale: the network's.

        Raises:
            ValueError: the result would be more than `LARGEST_SCALE` times as large as the input.
        """
        factors = [limit / side for limit, side in ((self.width, width), (self.height, height)) if limit is not None]
        factor = self.scale if self.scale is not None else min(factors, default=float(scale))
        wide, high = self.size or (round(width * factor), round(height * factor))
        if self.width is not None and factor == self.width / width:
            wide = self.width
        if self.height is not None and factor == self.height / height:
            high = self.height
        if self.max_pixels is not None and wide * high > self.max_pixels:
            shrink = math.sqrt(self.max_pixels / (wide * high))
            wide, high = math.floor(wide * shrink), math.floor(high * shrink)
        if max(wide / width, high / height) > LARGEST_SCALE:
            raise ValueError(f"{wide} × {high} pixels are more than {LARGEST_SCALE} times {width} × {height}")
        return max(1, wide), max(1, high)


def read_size(text: str) -> tuple[int, int]:
    """Read ``1920x1080``.

    Raises:
        ValueError: it isn't of that form.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no size; write it like 1920x1080")
    return int(match[1]), int(match[2])


def read_pixels(text: str) -> float:
    """Read a number of pixels: ``20000000``, ``20M`` or ``20MP``.

    Raises:
        ValueError: it isn't of that form.
    """
    match = _PIXELS.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no number of pixels; write it like 20M")
    return float(match[1]) * _UNITS[match[2]]


def model_for(scale: float | None, available: dict[int, str]) -> str:
    """The network of the default family for a scale: of that scale, else the next larger one, else the largest.

    Args:
        scale: what was asked for; ``None``: nothing.
        available: names by scale.
    """
    if scale is None or not available:
        return DEFAULT_MODEL
    return available[min((s for s in available if s >= scale), default=max(available))]
