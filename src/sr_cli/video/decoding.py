"""Frames of a video file, one by one, and what the file says about them. A file that is cut off is an error."""

import itertools
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.container import InputContainer
from av.error import BlockingIOError as NoFrame
from av.error import EOFError as NoMoreFrames
from av.filter import Graph
from av.stream import Disposition
from av.video.stream import VideoStream

from sr_cli.errors import ImageError
from sr_cli.images import Picture
from sr_cli.images.picture import describe_limit
from sr_cli.video.color import LUMA, Colors, colors_of, standard_format, to_picture

_MATROSKA, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_DYNAMIC_HDR = {"DYNAMIC_HDR_PLUS", "DOVI_METADATA", "DOVI_RPU_BUFFER"}


class Mastering(NamedTuple):
    """What HDR10 tells displays about a video. Sources: SMPTE ST 2086, CTA-861.3.

    Attributes:
        display: of the one it was made on: x and y of red, green, blue and white; the least and the most cd/m².
        light: the most cd/m² of any pixel, and of a frame's average.
    """

    display: tuple[float, ...] | None
    light: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Film:
    """What a video is.

    Attributes:
        size: width and height of a frame once it is upright.
        turns: quarters of a turn that make it so, counterclockwise.
        frames: how many there are; a guess where the file doesn't say.
        rate: average frames per second.
        time_base: seconds of a time stamp's unit.
        pix_fmt: the pixel format that its frames are converted from.
        aspect: width over height of a pixel once it is upright.
        picture_format: of its frames as pictures: the codec, if that is lossy.
        lost: what of the video any result lacks.
    """

    path: Path
    size: tuple[int, int]
    turns: int
    frames: int
    rate: Fraction
    time_base: Fraction
    pix_fmt: str
    colors: Colors
    aspect: Fraction
    picture_format: str
    mastering: Mastering
    lost: tuple[str, ...]


def read_film(path: Path, *, max_pixels: int, deinterlace: bool) -> tuple[Film, Picture]:
    """See `sr_cli.video.read_film`."""
    with opened(path) as (container, stream):
        _check_whole(path, container)
        image = next(_decode(path, container, stream), None)
        if image is None:
            raise ImageError(f"{path}: holds no frame that can be decoded")
        size, pix_fmt, colors = (image.width, image.height), standard_format(image.format.name), colors_of(image)
        if size[0] * size[1] > max_pixels:
            raise ImageError(f"{path}: has frames of {size[0]} × {size[1]}, more than {describe_limit(max_pixels)}")
        if image.interlaced_frame and not deinterlace:
            raise ImageError(f"{path}: is interlaced; --deinterlace makes whole frames of it")
        if pix_fmt.startswith("yuv") and colors.matrix not in LUMA:
            raise ImageError(f"{path}: its color matrix, {colors.matrix} in ITU-T H.273, isn't supported")
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        time_base = Fraction(stream.time_base or Fraction(1, 1000))
        seconds = float(stream.duration * time_base) if stream.duration else (container.duration or 0) / av.time_base
        turns, codec = round(image.rotation / 90) % 4, stream.codec_context.codec
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        side_data = {str(getattr(each, "type", "")).rpartition(".")[2]: each for each in image.side_data}
        has_alpha = any(each.is_alpha for each in image.format.components)
        has_alpha |= stream.metadata.get("alpha_mode") == "1"  # VP8's and VP9's, which FFmpeg doesn't decode
        lost = {"transparency": has_alpha, "HDR metadata of each scene": not _DYNAMIC_HDR.isdisjoint(side_data)}
        film = Film(
            path=path,
            size=size[::-1] if turns % 2 else size,
            turns=turns,
            frames=max(1, stream.frames or round(seconds * rate)),
            rate=rate,
            time_base=time_base,
            pix_fmt=pix_fmt,
            colors=colors,
            aspect=1 / aspect if turns % 2 else aspect,
            picture_format=codec.canonical_name if codec.lossy else "PNG",
            mastering=_mastering(side_data),
            lost=tuple(name for name, found in lost.items() if found),
        )
    return film, to_picture(image, colors, format=film.picture_format, turns=turns)


def frames(film: Film, *, deinterlace: bool) -> Iterator[tuple[av.VideoFrame, int, int]]:
    """The frames as they are shown, each with its time and duration in units of the film's time base.

    Raises:
        ImageError: the file is damaged or cut off, or turns out to be interlaced, or its frames change their size.
    """
    step = max(1, round(1 / (film.rate * film.time_base)))
    time, first = -step, True
    with opened(film.path) as (container, stream):
        images = _decode(film.path, container, stream)
        for image in _deinterlaced(images, film) if deinterlace else images:
            tick = Fraction(image.time_base or film.time_base) / film.time_base
            shown = time + step if image.pts is None else round(image.pts * tick)
            time, first = shown if first else max(shown, time + 1), False
            where = f"{film.path}: the frame at {float(time * film.time_base):.2f} s"
            if image.interlaced_frame and not deinterlace:
                raise ImageError(f"{where} is interlaced; --deinterlace makes whole frames of it")
            if (image.width, image.height) != (film.size[::-1] if film.turns % 2 else film.size):
                raise ImageError(f"{where} has {image.width} × {image.height} pixels, unlike those before")
            yield image, time, round((image.duration or 0) * tick) or step


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The open file and its first video stream; what cannot be read, also within the block, is an `ImageError`."""
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            films = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
            if not films or films[0].codec_context is None:
                raise ImageError(f"{path}: holds no video that can be decoded")
            yield container, films[0]
    except av.FFmpegError as error:
        raise ImageError(f"{path}: cannot be read as a video ({error.strerror})") from error


def _mastering(side_data: Mapping[str, Any]) -> Mastering:
    """Read FFmpeg's AVMasteringDisplayMetadata and AVContentLightMetadata, which PyAV gives as bytes."""
    display, light = (side_data.get(name) for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"))
    values = struct.unpack("=22i", bytes(display)[:88]) if display is not None else (0,) * 22
    return Mastering(
        tuple(values[i] / (values[i + 1] or 1) for i in range(0, 20, 2)) if values[20] and values[21] else None,
        struct.unpack("=2I", bytes(light)[:8]) if light is not None else None,
    )


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        images = [] if packet.is_corrupt else packet.decode()
        if packet.is_corrupt or any(image.is_corrupt for image in images):
            raise ImageError(f"{path}: is damaged or cut off at {float((packet.pts or 0) * packet.time_base):.2f} s")
        yield from images


def _deinterlaced(images: Iterator[av.VideoFrame], film: Film) -> Iterator[av.VideoFrame]:
    """Whole frames, as many as before, by FFmpeg's filter bwdif."""
    graph: Graph | None = None
    for image in itertools.chain(images, [None]):
        if graph is None and image is not None:
            graph, form = Graph(), {"video_size": f"{image.width}x{image.height}", "pix_fmt": image.format.name}
            meaning = {"colorspace": str(int(image.colorspace)), "range": str(int(image.color_range))}
            source = graph.add("buffer", time_base=str(film.time_base), **form, **meaning)
            graph.link_nodes(source, graph.add("bwdif", mode="send_frame"), graph.add("buffersink")).configure()
        if graph is not None:
            graph.push(image)
            with suppress(NoFrame, NoMoreFrames):
                while True:
                    yield graph.vpull()


def _check_whole(path: Path, container: InputContainer) -> None:
    """Refuse a file that is shorter than its index, or its head, says."""
    entries = (entry for stream in container.streams for entry in stream.index_entries)
    indexed = 0 if container.format.name.startswith("matroska") else max((e.pos + e.size for e in entries), default=0)
    needed, size = max(_size_in_head(path), indexed), path.stat().st_size
    if needed > size:
        raise ImageError(f"{path}: is cut off: it has {size} of at least {needed} bytes")


def _size_in_head(path: Path) -> int:
    """The bytes that an AVI or Matroska file says it has; 0 if it doesn't say. Source: RFC 8794, section 4."""
    with path.open("rb") as file:
        for identity in (_MATROSKA, _SEGMENT):
            found = file.read(4)
            if found == b"RIFF":
                return 8 + int.from_bytes(file.read(4), "little")
            if found != identity:
                return 0
            first = file.read(1)[0]
            length = 9 - first.bit_length()
            value = int.from_bytes(bytes([first & (0xFF >> length)]) + file.read(length - 1), "big")
            if identity == _SEGMENT:
                return 0 if value == (1 << 7 * length) - 1 else file.tell() + value
            file.seek(value, 1)
    return 0
