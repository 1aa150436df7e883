"""Planes of a video frame ↔ RGB, by the matrix and the range that the video says."""

import re
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
import torch
from av.codec.codec import find_best_pix_fmt_of_list
from torch import Tensor

from sr_cli.errors import ImageError
from sr_cli.images import Picture

_LUMA = {  # red's and blue's share of luma by matrix, as ITU-T H.273 numbers them (table 4)
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_RGB, _UNSPECIFIED, _FULL = 0, 2, 2
_PLANAR = re.compile(r"(gray|gbr|yuvj?)(4\d\d)?p?(9|1\d)?(?:le)?")
_NAMES = ("gray", "gbrp", "yuv420p", "yuv422p", "yuv444p")
_SUPPORTED = [f"{name}{depth}" for name in _NAMES for depth in ("", "10le", "12le", "16le")]


@dataclass(frozen=True, kw_only=True)
class Colors:
    """What the values of a video mean, in the numbers of ITU-T H.273; ``range`` is FFmpeg's: 2 is full."""

    matrix: int
    primaries: int
    transfer: int
    range: int

    @property
    def is_full(self) -> bool:
        return self.range == _FULL


@dataclass(frozen=True)
class Layout:
    """The planes of a pixel format.

    Attributes:
        kind: ``gray``, ``gbr`` or ``yuv``.
        bits: of a value.
        halved: whether chroma has half the height, and half the width.
    """

    kind: str
    bits: int
    halved: tuple[bool, bool]

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        return np.uint8 if self.bits == 8 else np.uint16


def layout_of(name: str) -> Layout | None:
    """The planes of a pixel format, such as ``yuv420p10le``; ``None`` for those that `standard_format` replaces."""
    match = _PLANAR.fullmatch(name)
    if not match or match[2] not in (None, "420", "422", "444"):
        return None
    return Layout(match[1].removesuffix("j"), int(match[3] or 8), (match[2] == "420", match[2] in ("420", "422")))


def standard_format(name: str, among: list[str] | None = None) -> str:
    """The pixel format that holds what ``name`` holds, or loses least of it.

    Args:
        among: what to choose from; ``None``: what is converted here.
    """
    name = name.replace("yuvj", "yuv")
    known = _SUPPORTED if among is None else [each for each in among if layout_of(each) and "j" not in each]
    if name in known or (among is None and layout_of(name)):
        return name
    best, _ = find_best_pix_fmt_of_list([av.VideoFormat(each) for each in known], av.VideoFormat(name))
    return best.name if best else known[0]


def colors_of(frame: av.VideoFrame) -> Colors:
    """What the values of a frame mean.

    What the file leaves out is what players assume by the size (mpv's rule), so that a larger result doesn't make them
    assume something else.
    """
    matrix, primaries, range = int(frame.colorspace), int(frame.color_primaries), int(frame.color_range)
    is_small = frame.width < 1280 and frame.height <= 576
    if frame.format.name.startswith("yuvj"):
        range = _FULL
    if frame.format.is_rgb:
        matrix, range = _RGB, _FULL
    elif matrix == _UNSPECIFIED:
        matrix = 6 if is_small else 1
    if primaries == _UNSPECIFIED and is_small and frame.height in (480, 486, 488, 576):
        primaries = 5 if frame.height == 576 else 6
    return Colors(matrix=matrix, primaries=primaries, transfer=int(frame.color_trc), range=range)


def check_colors(colors: Colors, kind: str) -> None:
    """Raise `ImageError` for a matrix that isn't known."""
    if kind == "yuv" and colors.matrix not in _LUMA:
        raise ImageError(f"its color matrix has the number {colors.matrix} of ITU-T H.273, which isn't supported")


def to_picture(frame: av.VideoFrame, colors: Colors, *, format: str, turns: int = 0) -> Picture:
    """A frame as a picture of 16 bits, upright.

    Chroma is taken to lie where H.264 and HEVC have it unless they say otherwise: beside the left of two pixels.

    Args:
        format: of the picture.
        turns: quarters of a turn, counterclockwise.
    """
    name = standard_format(frame.format.name)
    layout = layout_of(name)
    assert layout is not None
    if name != frame.format.name.replace("yuvj", "yuv"):
        frame = frame.reformat(format=name)
    planes = [_values(plane, layout) for plane in frame.planes]
    if layout.kind == "yuv":
        color = _from_yuv(planes, layout, colors)
    else:
        low, span, _, _ = _levels(layout.bits, is_full=colors.is_full or layout.kind == "gbr")
        order = (0,) if layout.kind == "gray" else (2, 0, 1)
        color = torch.stack([(planes[each] - low) / span for each in order], dim=-1)
    pixels = (color.clamp_(0, 1) * 65535 + 0.5).numpy().astype(np.uint16)
    return Picture(color=np.ascontiguousarray(np.rot90(pixels, turns)), format=format)


def to_frame(picture: Picture, colors: Colors, name: str) -> av.VideoFrame:
    """A picture as a frame of a pixel format: the inverse of `to_picture`, without the turns."""
    layout = layout_of(name)
    assert layout is not None
    color = torch.from_numpy(picture.color.astype(np.float32) / np.float32(np.iinfo(picture.color.dtype).max))
    if layout.kind != "gray" and color.shape[2] == 1:
        color = color.expand(-1, -1, 3)
    if layout.kind == "yuv":
        planes = _to_yuv(color, layout, colors)
    else:
        low, span, _, _ = _levels(layout.bits, is_full=colors.is_full or layout.kind == "gbr")
        order = (0,) if layout.kind == "gray" else (1, 2, 0)
        planes = [color[..., each] * span + low for each in order]
    frame = av.VideoFrame(picture.width, picture.height, name)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // np.dtype(layout.dtype).itemsize), layout.dtype)
        rows[:, : plane.width] = values.add(0.5).clamp_(0, (1 << layout.bits) - 1).numpy()
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = colors.matrix, colors.range
    frame.color_primaries, frame.color_trc = colors.primaries, colors.transfer
    return frame


def _values(plane: "av.video.plane.VideoPlane", layout: Layout) -> Tensor:
    rows: npt.NDArray[np.unsignedinteger] = np.frombuffer(memoryview(plane), layout.dtype).reshape(plane.height, -1)
    return torch.from_numpy(rows[:, : plane.width].astype(np.float32))


def _levels(bits: int, *, is_full: bool) -> tuple[float, float, float, float]:
    """Black, and white above it; no color, and the span of chroma around it."""
    step = 1 << (bits - 8)
    top = 256 * step - 1
    return (0, top, 128 * step, top) if is_full else (16 * step, 219 * step, 128 * step, 224 * step)


def _from_yuv(planes: list[Tensor], layout: Layout, colors: Colors) -> Tensor:
    """Source: ITU-T H.273, equations 41 to 52."""
    low, span, middle, reach = _levels(layout.bits, is_full=colors.is_full)
    red, blue = _LUMA[colors.matrix]
    y = (planes[0] - low) / span
    cb, cr = ((_doubled(plane, layout, y.shape) - middle) / reach for plane in planes[1:3])
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return torch.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], dim=-1)


def _to_yuv(color: Tensor, layout: Layout, colors: Colors) -> list[Tensor]:
    low, span, middle, reach = _levels(layout.bits, is_full=colors.is_full)
    red, blue = _LUMA[colors.matrix]
    r, g, b = color.unbind(-1)
    y = red * r + (1 - red - blue) * g + blue * b
    chroma = ((b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red)))
    return [y * span + low, *(_halved(each, layout) * reach + middle for each in chroma)]


def _doubled(chroma: Tensor, layout: Layout, shape: torch.Size) -> Tensor:
    """Chroma at full size, interpolated linearly: samples lie beside the left, and between the rows, of two pixels."""
    vertical, horizontal = layout.halved
    if horizontal:
        after = torch.cat([chroma[:, 1:], chroma[:, -1:]], dim=1)
        chroma = torch.stack([chroma, (chroma + after) / 2], dim=2).flatten(1)[:, : shape[1]]
    if vertical:
        before, after = torch.cat([chroma[:1], chroma[:-1]]), torch.cat([chroma[1:], chroma[-1:]])
        pairs = [0.75 * chroma + 0.25 * before, 0.75 * chroma + 0.25 * after]
        chroma = torch.stack(pairs, dim=1).flatten(0, 1)[: shape[0]]
    return chroma


def _halved(chroma: Tensor, layout: Layout) -> Tensor:
    """Chroma at the size that the layout has, smoothed around where its samples lie."""
    vertical, horizontal = layout.halved
    if horizontal:
        left = torch.cat([chroma[:, :1], chroma[:, :-1]], dim=1)[:, ::2]
        right = torch.cat([chroma[:, 1:], chroma[:, -1:]], dim=1)[:, ::2]
        chroma = (left + 2 * chroma[:, ::2] + right) / 4
    if vertical:
        chroma = (chroma[::2] + torch.cat([chroma, chroma[-1:]])[1::2]) / 2
    return chroma
