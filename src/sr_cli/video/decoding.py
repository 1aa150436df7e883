"""Frames of a video file, one by one, and what the file says about them; files that are cut off are found out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import BlockingIOError as NoFrame
from av.error import EOFError as NoMoreFrames
from av.filter import Graph
from av.stream import Disposition
from av.video.stream import VideoStream

from sr_cli.config import MAX_PIXELS
from sr_cli.errors import ImageError
from sr_cli.images import Picture
from sr_cli.images.picture import describe_limit
from sr_cli.video.color import Colors, check_colors, colors_of, layout_of, standard_format, to_picture

_MATROSKA, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


@dataclass(frozen=True, kw_only=True)
class Film:
    """What a video is.

    Attributes:
        width, height: of a frame once it is upright.
        turns: quarters of a turn that make it so, counterclockwise.
        frames: how many there are; a guess where the file doesn't say.
        rate: average frames per second.
        time_base: seconds of a time stamp's unit.
        codec: its name, such as ``h264``.
        pix_fmt: the pixel format that its frames are converted from.
        aspect: width over height of a pixel once it is upright.
        lost: what of the video its result lacks.
    """

    path: Path
    width: int
    height: int
    turns: int
    frames: int
    rate: Fraction
    time_base: Fraction
    codec: str
    is_lossy: bool
    pix_fmt: str
    colors: Colors
    aspect: Fraction
    lost: tuple[str, ...] = ()

    @property
    def picture_format(self) -> str:
        """The format of its frames as pictures; a video codec's name stands for a lossy one."""
        return self.codec if self.is_lossy else "PNG"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame and when it is shown, in units of the film's time base."""

    image: av.VideoFrame
    time: int
    duration: int


def read_film(path: Path, *, max_pixels: int = MAX_PIXELS, deinterlace: bool = False) -> tuple[Film, Picture]:
    """See `sr_cli.video.read_film`."""
    with opened(path) as (container, stream):
        image = next(_decode(path, container, stream), None)
        if image is None:
            raise ImageError(f"{path}: holds no frame that can be decoded")
        if image.width * image.height > max_pixels:
            raise ImageError(f"{path}: has frames of {image.width} × {image.height} pixels, more than "
                             f"{describe_limit(max_pixels)}")  # fmt: skip
        if image.interlaced_frame and not deinterlace:
            raise ImageError(f"{path}: is interlaced; --deinterlace makes whole frames of it")
        name, colors = standard_format(image.format.name), colors_of(image)
        layout = layout_of(name)
        try:
            check_colors(colors, layout.kind if layout else "")
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        time_base = Fraction(stream.time_base or Fraction(1, 1000))
        seconds = float(stream.duration * time_base) if stream.duration else (container.duration or 0) / av.time_base
        turns = round(image.rotation / 90) % 4
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        width, height = (image.height, image.width) if turns % 2 else (image.width, image.height)
        film = Film(
            path=path,
            width=width,
            height=height,
            turns=turns,
            frames=max(1, stream.frames or round(seconds * rate)),
            rate=rate,
            time_base=time_base,
            codec=stream.codec_context.codec.canonical_name,
            is_lossy=stream.codec_context.codec.lossy,
            pix_fmt=name,
            colors=colors,
            aspect=1 / aspect if turns % 2 else aspect,
            lost=tuple(_losses(container, image)),
        )
    return film, to_picture(image, colors, format=film.picture_format, turns=turns)


def frames(film: Film, *, deinterlace: bool) -> Iterator[Frame]:
    """The frames in the order in which they are shown.

    Raises:
        ImageError: the file is damaged or cut off, or turns out to be interlaced, or its frames change their size.
    """
    step = max(1, round(1 / (film.rate * film.time_base)))
    time = -step
    with opened(film.path) as (container, stream):
        images = _decode(film.path, container, stream)
        for index, image in enumerate(_deinterlaced(images, film) if deinterlace else images):
            tick = Fraction(image.time_base or film.time_base) / film.time_base
            where = f"{film.path}: frame {index + 1}"
            if image.interlaced_frame and not deinterlace:
                raise ImageError(f"{where} is interlaced; --deinterlace makes whole frames of it")
            if (image.height, image.width)[:: -1 if film.turns % 2 else 1] != (film.height, film.width):
                raise ImageError(f"{where} has {image.width} × {image.height} pixels, unlike those before")
            shown = time + step if image.pts is None else round(image.pts * tick)
            time = shown if index == 0 else max(shown, time + 1)
            duration = round((image.duration or 0) * tick)
            yield Frame(image=image, time=time, duration=duration or step)


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The open file and its first video stream.

    Raises:
        ImageError: it cannot be read, also within the block; or is cut off, or has no video.
    """
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            films = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
            if not films or films[0].codec_context is None:
                raise ImageError(f"{path}: holds no video that can be decoded")
            _check_whole(path, container)
            yield container, films[0]
    except av.FFmpegError as error:
        raise ImageError(f"{path}: cannot be read as a video ({error.strerror})") from error


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        images = [] if packet.is_corrupt else packet.decode()
        if packet.is_corrupt or any(image.is_corrupt for image in images):
            at = float((packet.pts or 0) * packet.time_base)
            raise ImageError(f"{path}: is damaged or cut off at {at:.2f} s")
        yield from images


def _deinterlaced(images: Iterator[av.VideoFrame], film: Film) -> Iterator[av.VideoFrame]:
    """Whole frames, as many as before, by FFmpeg's filter bwdif."""
    graph: Graph | None = None
    for image in images:
        if graph is None:
            graph = Graph()
            size, aspect = f"{image.width}x{image.height}", f"{film.aspect.numerator}/{film.aspect.denominator}"
            source = graph.add(
                "buffer", video_size=size, pix_fmt=image.format.name, time_base=str(film.time_base),
                pixel_aspect=aspect, colorspace=str(int(image.colorspace)), range=str(int(image.color_range)),
            )  # fmt: skip
            graph.link_nodes(source, graph.add("bwdif", mode="send_frame"), graph.add("buffersink")).configure()
        graph.push(image)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            image = graph.pull()
        except (NoFrame, NoMoreFrames):
            return
        assert isinstance(image, av.VideoFrame)
        yield image


def _check_whole(path: Path, container: InputContainer) -> None:
    """Refuse a file that is shorter than its index, or its head, says."""
    size = path.stat().st_size
    ends = (entry.pos + entry.size for stream in container.streams for entry in stream.index_entries)
    needed = max(_size_in_head(path), 0 if container.format.name.startswith("matroska") else max(ends, default=0))
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


def _losses(container: InputContainer, image: av.VideoFrame) -> Iterator[str]:
    if any(each.is_alpha for each in image.format.components):
        yield "transparency"
    kinds = {str(getattr(each, "type", "")).rpartition(".")[2] for each in image.side_data}
    if kinds & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "DYNAMIC_HDR_PLUS", "DOVI_METADATA"}:
        yield "HDR metadata of the display it was made on"
    data = [each for each in container.streams if each.type not in ("video", "audio", "subtitle", "attachment")]
    if len(data) > bool(container.chapters()) + ("timecode" in container.streams.video[0].metadata):
        yield "data streams"
