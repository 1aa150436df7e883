"""Small videos, made by PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt


def images(count: int, size: tuple[int, int]) -> list[npt.NDArray[np.uint8]]:
    """Smooth colors that move, ``(H, W, 3)``; the right edge alone says which is which."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    return [
        np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 12 * i)], axis=-1).astype(np.uint8)
        for i in range(count)
    ]


def make_clip(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (32, 24),
    times: Sequence[int] = tuple(range(0, 1000, 100)),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: str | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    colors: dict[str, int] | None = None,
    metadata: dict[str, str] | None = None,
    chapters: Sequence[dict[str, Any]] = (),
) -> Path:
    """Write a video.

    Args:
        times: of the frames, in milliseconds.
        audio: its codec; it lasts as long.
        rotation: in degrees, counterclockwise, that makes it upright.
        colors: ``colorspace``, ``color_range``, ``color_primaries``, ``color_trc``.
    """
    tick = Fraction(1, 1000)
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as target:
        target.metadata.update(metadata or {})
        video = target.add_stream(codec, rate=10, options=options or {})
        video.width, video.height, video.pix_fmt, video.codec_context.time_base = *size, pix_fmt, tick
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        for name, value in (colors or {}).items():
            setattr(video.codec_context, name, value)
        if rotation:
            video.set_display_rotation(rotation)
        sound = target.add_stream(audio, rate=48000) if audio else None
        target.set_chapters(list(chapters))
        for time, image in zip(times, images(len(times), size), strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, tick
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        if sound is not None:
            for start in range(0, 48 * (times[-1] + 100), 960):
                wave = np.sin(np.arange(start, start + 960) / 20).astype(np.float32)
                part = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
                part.sample_rate, part.pts = 48000, start
                part = part if sound.codec_context.format.name == "fltp" else _interleaved(part)
                target.mux(sound.encode(part))
            target.mux(sound.encode(None))
    return path


def _interleaved(part: av.AudioFrame) -> av.AudioFrame:
    values = part.to_ndarray().T.reshape(1, -1).copy()
    flat = av.AudioFrame.from_ndarray(values, "flt", "stereo")
    flat.sample_rate, flat.pts = part.sample_rate, part.pts
    return flat


def frames_of(path: Path) -> list[av.VideoFrame]:
    """All frames, decoded."""
    with av.open(str(path)) as source:
        return list(source.decode(video=0))


def times_of(path: Path) -> list[float]:
    """When the frames are shown, in seconds."""
    return [round(float(frame.pts * frame.time_base), 4) for frame in frames_of(path)]


def packets_of(path: Path, kind: str) -> list[tuple[float, bytes]]:
    """The packets of the streams of a kind: time in seconds, and content."""
    with av.open(str(path)) as source:
        packets = [each for each in source.demux() if each.size and each.stream.type == kind]
        return [(round(float((each.pts or 0) * each.time_base), 3), bytes(each)) for each in packets]
