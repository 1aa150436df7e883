"""The pictures that the page shows: the worst and the best."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from PIL import Image

from sr_cli.config import Interpolation
from sr_cli.evaluation.evaluate import Comparison
from sr_cli.evaluation.result import ImageResult, find_measure
from sr_cli.evaluation.samples import RgbPixels

MAX_SIDE = 1024
"""Longest side shown, in HR pixels; of a larger picture, the part where SR differs most from HR (or bicubic) is shown.
"""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of HR that is shown, in HR pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: RgbPixels, *, scale: int = 1) -> RgbPixels:
        """That part of HR or SR, or, by its ``scale``, of LR."""
        top, left = self.top // scale, self.left // scale
        return pixels[top : top + self.height // scale, left : left + self.width // scale]


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One picture in all versions.

    Attributes:
        window: the part of the picture that is shown.
        panels: lossless WebP files by name: ``LR``, the methods, ``HR``.
        badness: what the pictures are ordered by; larger is worse.
    """

    result: ImageResult
    window: Window
    panels: Mapping[str, bytes]
    badness: float

    @property
    def is_whole(self) -> bool:
        return (self.window.width, self.window.height) == (self.result.width, self.result.height)


class Gallery:
    """Keeps the worst and the best of the pictures it is given, at most ``limit``.

    Attributes:
        exhibits: the pictures kept, the worst first by ``measure`` of the first method that isn't an interpolation, or
            else of the first method.
    """

    def __init__(self, *, measure: str, limit: int) -> None:
        self.measure, self.limit, self._middle = measure, limit, (limit + 1) // 2
        self.exhibits: list[Exhibit] = []

    def add(self, comparison: Comparison) -> None:
        """Keep a picture if it is among the worst or the best so far."""
        scores = comparison.result.scores
        judged = next((name for name in scores if name not in get_args(Interpolation)), next(iter(scores)))
        value = scores[judged].get(self.measure)
        badness = float("inf") if value is None else find_measure(self.measure).badness(value)
        place = sum(exhibit.badness >= badness for exhibit in self.exhibits)
        if len(self.exhibits) == self.limit and place == self._middle:
            return
        self.exhibits.append(_exhibit(comparison, judged, badness))
        self.exhibits.sort(key=lambda exhibit: -exhibit.badness)
        if len(self.exhibits) > self.limit:
            del self.exhibits[self._middle]


def _exhibit(comparison: Comparison, judged: str, badness: float) -> Exhibit:
    sr, hr = comparison.sr[judged], comparison.hr
    scale = sr.shape[0] // comparison.lr.shape[0]
    window = window_of_difference(sr, comparison.sr["bicubic"] if hr is None else hr, side=MAX_SIDE, step=scale)
    panels = {"LR": _webp(window.of(comparison.lr, scale=scale))}
    panels |= {name: _webp(window.of(pixels)) for name, pixels in comparison.sr.items()}
    if hr is not None:
        panels["HR"] = _webp(window.of(hr))
    return Exhibit(result=comparison.result, window=window, panels=panels, badness=badness)


def window_of_difference(sr: RgbPixels, hr: RgbPixels, *, side: int, step: int) -> Window:
    """The window of at most ``side`` × ``side`` pixels with the largest sum of differences.

    Args:
        sr: ``(H, W, 3)``.
        hr: same shape.
        step: the window's edges are multiples of it.
    """
    total = hr.shape[:2]
    height, width = (min(length, side // step * step) for length in total)
    difference = np.abs(sr.astype(np.int16) - hr).sum(axis=2, dtype=np.int64)
    sums = np.zeros((total[0] + 1, total[1] + 1), np.int64)
    sums[1:, 1:] = difference.cumsum(0).cumsum(1)
    tops, lefts = (np.arange(0, length - kept + 1, step) for length, kept in zip(total, (height, width), strict=True))
    top, left = tops[:, None], lefts[None]
    inside = sums[top + height, left + width] - sums[top, left + width] - sums[top + height, left] + sums[top, left]
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return Window(left=int(lefts[column]), top=int(tops[row]), width=width, height=height)


def _webp(pixels: RgbPixels) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "WEBP", lossless=True, quality=40, method=2)
        return file.getvalue()
