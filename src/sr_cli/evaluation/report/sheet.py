"""The comparison as one picture: a row a photo, a column a version, captions below."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sr_cli.evaluation.report.gallery import Exhibit, window_of_difference
from sr_cli.evaluation.report.table import caption
from sr_cli.evaluation.result import EvaluationReport

MAX_SIDE = 400
"""Longest side of a cell, in HR pixels."""

_GAP, _LINE, _TEXT = 10, 20, 15
_LONGEST = 40  # letters of a name
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def sheet(report: EvaluationReport, exhibits: Sequence[Exhibit]) -> Image.Image:
    """LR (its pixels enlarged), every method and HR side by side, at their own size.

    Of pictures larger than `MAX_SIDE` a part is shown, the same in every column: that where SR differs most from HR.

    Args:
        exhibits: at least one, from `sr_cli.evaluation.report.gallery.Gallery`.
    """
    rows = [_cells(report, exhibit) for exhibit in exhibits]
    font = ImageFont.load_default(_TEXT)
    widths = [max(_width(row[column], font) for row in rows) for column in range(len(rows[0]))]
    heights = [row[0][0].height + 2 * _LINE + _GAP for row in rows]
    footer = str(report.protocol)
    width = max(sum(widths) + _GAP * (len(widths) - 1), math.ceil(font.getlength(footer)))
    size = (width + 2 * _GAP, sum(heights) + _LINE + 2 * _GAP)
    paper = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(paper)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for (picture, name, scores), width in zip(row, widths, strict=True):
            paper.paste(picture, (left, top))
            draw.text((left, top + picture.height + 2), name, fill=_INK, font=font)
            draw.text((left, top + picture.height + 2 + _LINE), scores, fill=_FAINT, font=font)
            left += width + _GAP
        top += height
    draw.text((_GAP, top + 2), footer, fill=_FAINT, font=font)
    return paper


_Cell = tuple[Image.Image, str, str]
"""A picture, its name, its scores."""


def _width(cell: _Cell, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    picture, *texts = cell
    return max(picture.width, *(math.ceil(font.getlength(text)) for text in texts))


def _cells(report: EvaluationReport, exhibit: Exhibit) -> list[_Cell]:
    pictures = {name: np.array(Image.open(io.BytesIO(panel)).convert("RGB")) for name, panel in exhibit.panels.items()}
    scale = report.protocol.scale
    window = window_of_difference(pictures[report.judged()[0]], pictures["HR"], side=MAX_SIDE, step=scale)
    cells = []
    for name, pixels in pictures.items():
        if name == "LR":
            small = Image.fromarray(window.of(pixels, scale=scale))
            large = small.resize((window.width, window.height), Image.Resampling.NEAREST)
            cells.append((large, name, _label(exhibit.result.name)))
        else:
            scores = "  ".join(caption(report, exhibit.result, name)[:2])
            cells.append((Image.fromarray(window.of(pixels)), _label(name), scores))
    return cells


def _label(name: str) -> str:
    """A file's name as one short line."""
    line = "".join(letter if letter.isprintable() else "?" for letter in name)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
