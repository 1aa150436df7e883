"""Frames of a video ↔ pictures, by the matrix and the range that the video names."""

from collections.abc import Iterable
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
import torch
from av.codec.codec import find_best_pix_fmt_of_list
from torch import Tensor

from sr_cli.images import Picture

LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
        9: (0.2627, 0.0593)}  # fmt: skip
"""Red's and blue's share of luma by matrix, as ITU-T H.273 numbers them in table 4."""

_UNSPECIFIED, _FULL = 2, 2


class Colors(NamedTuple):
    """What the values of a video mean, as ITU-T H.273 numbers it; ``range`` as FFmpeg does: 2 is full."""

    matrix: int
    primaries: int
    transfer: int
    range: int


class Layout(NamedTuple):
    """The planes of a pixel format: ``gray``, ``gbrp`` or ``yuv``; whether chroma has half the height and width."""

    kind: str
    bits: int
    half_height: bool
    half_width: bool


LAYOUTS = {
    name + (f"{bits}le" if bits > 8 else ""): Layout(
        name[:4].rstrip("4"), bits, "420" in name, "420" in name or "422" in name
    )
    for name in ("gray", "gbrp", "yuv420p", "yuv422p", "yuv444p")
    for bits in (8, 9, 10, 12, 14, 16)
}
"""The pixel formats that are converted here; `standard_format` replaces others."""


def standard_format(name: str, among: Iterable[str] = LAYOUTS) -> str:
    """The pixel format out of `LAYOUTS` that loses least of what ``name`` holds: nothing, if possible."""
    name, known = name.replace("yuvj", "yuv"), [each for each in among if each in LAYOUTS]
    if name in known:
        return name
    best, _ = find_best_pix_fmt_of_list([av.VideoFormat(each) for each in known], av.VideoFormat(name))
    return best.name if best else known[0]


def colors_of(frame: av.VideoFrame) -> Colors:
    """What the values of a frame mean.

    What it leaves out is what players assume by its size (mpv's rule): they would assume another for a larger one.
    """
    matrix, primaries, range = int(frame.colorspace), int(frame.color_primaries), int(frame.color_range)
    is_small = frame.width < 1280 and frame.height <= 576
    if matrix == _UNSPECIFIED:
        matrix = 6 if is_small else 1
    if primaries == _UNSPECIFIED and is_small and frame.height in (480, 486, 488, 576):
        primaries = 5 if frame.height == 576 else 6
    range = _FULL if frame.format.name.startswith("yuvj") or frame.format.is_rgb else range
    return Colors(0 if frame.format.is_rgb else matrix, primaries, int(frame.color_trc), range)


def to_picture(frame: av.VideoFrame, colors: Colors, *, format: str, turns: int = 0) -> Picture:
    """A frame as a picture of 16 bits, made upright by ``turns`` quarters of a turn counterclockwise."""
    name = standard_format(frame.format.name)
    layout = LAYOUTS[name]
    if name != frame.format.name.replace("yuvj", "yuv"):
        frame = frame.reformat(format=name)
    values = []
    for plane, (black, span) in zip(frame.planes, _levels(layout, colors), strict=True):
        rows: npt.NDArray[np.unsignedinteger] = np.frombuffer(memoryview(plane), _dtype(layout))
        known = torch.from_numpy(rows.reshape(plane.height, -1)[:, : plane.width].astype(np.float32))
        values.append((_doubled(known, layout, frame) - black) / span)
    color = torch.stack(values, dim=-1) @ _matrix(layout, colors).T
    pixels = (color.clamp_(0, 1) * 65535 + 0.5).numpy().astype(np.uint16)
    return Picture(color=np.ascontiguousarray(np.rot90(pixels, turns)), format=format)


def to_frame(picture: Picture, colors: Colors, name: str) -> av.VideoFrame:
    """A picture of 16 bits as a frame of a pixel format: the inverse of `to_picture`."""
    layout, frame = LAYOUTS[name], av.VideoFrame(picture.width, picture.height, name)
    color = torch.from_numpy(picture.color.astype(np.float32) / np.float32(65535))
    color = color.expand(-1, -1, len(frame.planes)) @ torch.linalg.inv(_matrix(layout, colors)).T
    for index, (plane, (black, span)) in enumerate(zip(frame.planes, _levels(layout, colors), strict=True)):
        values = (color[..., index] if plane.width == frame.width else _halved(color[..., index], layout)) * span
        rows = np.zeros((plane.height, plane.line_size // _dtype(layout)().itemsize), _dtype(layout))
        rows[:, : plane.width] = (values + (black + 0.5)).clamp_(0, (1 << layout.bits) - 1).numpy()
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = colors.matrix, colors.range
    frame.color_primaries, frame.color_trc = colors.primaries, colors.transfer
    return frame


def _dtype(layout: Layout) -> type[np.unsignedinteger]:
    return np.uint8 if layout.bits == 8 else np.uint16


def _levels(layout: Layout, colors: Colors) -> list[tuple[int, int]]:
    """For each plane the value that is 0, and how many above it is 1. Source: ITU-T H.273, section 8.3."""
    step, top = 1 << (layout.bits - 8), (1 << layout.bits) - 1
    if layout.kind == "gbrp":
        return [(0, top)] * 3
    is_full = colors.range == _FULL
    luma, chroma = ((0, top), (128 * step, top)) if is_full else ((16 * step, 219 * step), (128 * step, 224 * step))
    return [luma] if layout.kind == "gray" else [luma, chroma, chroma]


def _matrix(layout: Layout, colors: Colors) -> Tensor:
    """Planes → RGB. Source: ITU-T H.273, section 8.3."""
    if layout.kind != "yuv":
        return torch.tensor([[1.0]] if layout.kind == "gray" else [[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    red, blue = LUMA[colors.matrix]
    green, cb, cr = 1 - red - blue, 2 * (1 - blue), 2 * (1 - red)
    return torch.tensor([[1, 0, cr], [1, -cb * blue / green, -cr * red / green], [1, cb, 0]])


def _doubled(plane: Tensor, layout: Layout, frame: av.VideoFrame) -> Tensor:
    """Chroma at full size, interpolated linearly: samples lie beside the left, and between the rows, of two pixels."""
    if layout.half_width and plane.shape[1] < frame.width:
        after = torch.cat([plane[:, 1:], plane[:, -1:]], dim=1)
        plane = torch.stack([plane, (plane + after) / 2], dim=2).flatten(1)[:, : frame.width]
    if layout.half_height and plane.shape[0] < frame.height:
        before, after = torch.cat([plane[:1], plane[:-1]]), torch.cat([plane[1:], plane[-1:]])
        both = torch.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], dim=1)
        plane = both.flatten(0, 1)[: frame.height]
    return plane


def _halved(chroma: Tensor, layout: Layout) -> Tensor:
    """Chroma of an even size at the size of the layout, smoothed around where its samples lie."""
    before, after = torch.cat([chroma[:, :1], chroma[:, :-1]], dim=1), torch.cat([chroma[:, 1:], chroma[:, -1:]], dim=1)
    chroma = ((before + 2 * chroma + after) / 4)[:, ::2]
    return (chroma[::2] + chroma[1::2]) / 2 if layout.half_height else chroma
