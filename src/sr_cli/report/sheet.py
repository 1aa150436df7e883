"""The comparison as one picture: a row a photo, a column a version, captions below."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sr_cli.evaluation.result import EvaluationReport
from sr_cli.report.gallery import Exhibit, window_of_difference
from sr_cli.report.table import caption

MAX_SIDE = 400
"""Longest side of a cell, in HR pixels."""

_GAP, _LINE, _TEXT = 10, 20, 15
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def sheet(report: EvaluationReport, exhibits: Sequence[Exhibit]) -> Image.Image:
    """LR (its pixels enlarged), every method and HR side by side, at their own size.

    Of pictures larger than `MAX_SIDE` a part is shown, the same in every column: that where SR differs most from HR.

    Args:
        exhibits: at least one, from `sr_cli.report.gallery.Gallery`.
    """
    rows = [_cells(report, exhibit) for exhibit in exhibits]
    widths = [max(row[column][0].width for row in rows) for column in range(len(rows[0]))]
    heights = [row[0][0].height + 2 * _LINE + _GAP for row in rows]
    size = (sum(widths) + _GAP * (len(widths) + 1), sum(heights) + _LINE + 2 * _GAP)
    paper = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(paper)
    font = ImageFont.load_default(_TEXT)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for (picture, name, scores), width in zip(row, widths, strict=True):
            paper.paste(picture, (left, top))
            draw.text((left, top + picture.height + 2), name, fill=_INK, font=font)
            draw.text((left, top + picture.height + 2 + _LINE), scores, fill=_FAINT, font=font)
            left += width + _GAP
        top += height
    draw.text((_GAP, top + 2), f"{report.protocol}", fill=_FAINT, font=font)
    return paper


def _cells(report: EvaluationReport, exhibit: Exhibit) -> list[tuple[Image.Image, str, str]]:
    """The row's pictures, each with its name and its scores."""
    pictures = {name: np.array(Image.open(io.BytesIO(panel)).convert("RGB")) for name, panel in exhibit.panels.items()}
    scale = report.protocol.scale
    window = window_of_difference(pictures[report.judged()[0]], pictures["HR"], side=MAX_SIDE, step=scale)
    cells = []
    for name, pixels in pictures.items():
        if name == "LR":
            small = Image.fromarray(window.of(pixels, scale=scale))
            large = small.resize((window.width, window.height), Image.Resampling.NEAREST)
            cells.append((large, name, exhibit.result.name))
        else:
            cells.append(
                (Image.fromarray(window.of(pixels)), name, "  ".join(caption(report, exhibit.result, name)[:2]))
            )
    return cells
