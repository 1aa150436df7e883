"""Frames of a result, encoded in segments: whole files, from which an interrupted run goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.codec.codec import UnknownCodecError
from av.video.stream import VideoStream

from sr_cli.config import UpscaleConfig
from sr_cli.errors import OutputError
from sr_cli.images import Picture
from sr_cli.system.atomic_files import output_error
from sr_cli.video import CONTAINERS
from sr_cli.video.color import LAYOUTS, Colors, standard_format, to_frame
from sr_cli.video.decoding import Film, Mastering

SEGMENT_FRAMES = 50
"""Frames of a segment: what an interruption costs at most. Each begins with a key frame."""

_LARGEST_H264 = 4096  # pixels of a side; hardware doesn't decode more
_MP4 = (".mp4", ".m4v", ".mov")
_CODECS: dict[str, tuple[str, dict[str, str]]] = {  # FFmpeg's encoder and its options
    "h264": ("libx264", {"crf": "17", "preset": "medium"}),
    "hevc": ("libx265", {"crf": "19", "preset": "medium", "x265-params": "log-level=error"}),
    "av1": ("libsvtav1", {"crf": "22", "preset": "7"}),
    "vp9": ("libvpx-vp9", {"crf": "22", "cpu-used": "3", "row-mt": "1"}),
    "ffv1": ("ffv1", {"level": "3", "slicecrc": "1"}),
}
_MASTERING = {  # the option, its names for display and light, and its steps for a unit of chromaticity and of luminance
    "h264": ("x264-params", "mastering-display", "cll", 50_000, 10_000),
    "hevc": ("x265-params", "master-display", "max-cll", 50_000, 10_000),
    "av1": ("svtav1-params", "mastering-display", "content-light", 1, 1),
}


class Encoding(NamedTuple):
    """What makes frames into packets.

    Attributes:
        encoder: FFmpeg's name of it.
        pix_fmt: that of the source, or the nearest that the encoder takes.
        rate: frames per second, for the encoder's decisions; time stamps are set later.
        tag: of the codec, where players ask for a certain one.
        lost: what of the video its result lacks.
    """

    encoder: str
    options: dict[str, str]
    pix_fmt: str
    size: tuple[int, int]
    rate: Fraction
    aspect: Fraction
    colors: Colors
    tag: str | None
    lost: tuple[str, ...]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an `OutputError` for what keeps ``path`` from being written."""
    try:
        yield
    except OSError as error:  # FFmpeg's errors of the system are Python's, too
        raise output_error(path, error) from error
    except (av.FFmpegError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written ({getattr(error, 'strerror', error)})") from error


def choose_encoding(film: Film, size: tuple[int, int], output: Path, config: UpscaleConfig) -> Encoding:
    """The encoding of a result; raises `OutputError` if its file cannot hold it, or the codec lacks a setting."""
    suffix, name = output.suffix.lower(), config.video_codec
    if suffix not in CONTAINERS:
        raise OutputError(f"{output}: a video is written to {' '.join(CONTAINERS)}")
    if name == "auto":
        wants_hevc = LAYOUTS[film.pix_fmt].bits > 8 or max(size) > _LARGEST_H264
        name = "vp9" if suffix == ".webm" else "hevc" if wants_hevc else "h264"
    if (suffix == ".webm" and name not in ("vp9", "av1")) or (name == "ffv1" and suffix != ".mkv"):
        raise OutputError(f"{output}: {suffix[1:]} doesn't hold {name}; choose another --video-codec, or write .mkv")
    encoder, options = _CODECS[name][0], dict(_CODECS[name][1])
    if name == "ffv1" and (config.crf is not None or config.preset):
        raise OutputError(f"{output}: ffv1 is lossless and has no --crf and no --preset")
    if config.crf is not None:
        options["crf"] = f"{config.crf:g}"
    if config.preset is not None:
        options["cpu-used" if name == "vp9" else "preset"] = config.preset
    try:
        pix_fmt = standard_format(film.pix_fmt, [each.name for each in av.Codec(encoder, "w").video_formats or []])
    except UnknownCodecError as error:
        raise OutputError(f"{output}: this PyAV has no {encoder}; choose another --video-codec") from error
    aspect = film.aspect
    if config.size is not None:  # may have another shape than the source
        aspect = (aspect * Fraction(film.size[0] * size[1], film.size[1] * size[0])).limit_denominator(1000)
    if aspect != 1 and name not in ("h264", "hevc") and suffix not in _MP4:  # PyAV cannot set it in Matroska
        raise OutputError(
            f"{output}: {suffix[1:]} doesn't hold that pixels of {name} are {aspect.numerator}:{aspect.denominator}; "
            "choose another --video-codec, or a --size that makes them square"
        )
    is_rgb_no_more = film.pix_fmt.startswith("gbr") and not pix_fmt.startswith("gbr")
    colors = film.colors._replace(matrix=1, range=1) if is_rgb_no_more else film.colors
    rate, tag = min(max(film.rate, Fraction(1)), Fraction(240)), "hvc1" if name == "hevc" and suffix in _MP4 else None
    lost = film.lost
    if any(film.mastering):
        if name in _MASTERING:
            _add_mastering(options, film.mastering, *_MASTERING[name])
        else:
            lost += (f"HDR metadata, which {name} doesn't hold",)
    return Encoding(encoder, options, pix_fmt, size, rate, aspect, colors, tag, lost)


def _add_mastering(
    options: dict[str, str], mastering: Mastering, option: str, display: str, light: str, step: int, bright: int
) -> None:
    """Add what HDR10 tells displays to the options of an encoder."""
    found = [options[option]] if option in options else []
    if mastering.display is not None:
        *points, least, most = mastering.display
        red, green, blue, white = (
            "({:.9g},{:.9g})".format(*(round(v * step, 4) for v in points[i : i + 2])) for i in (0, 2, 4, 6)
        )
        found.append(f"{display}=G{green}B{blue}R{red}WP{white}L({most * bright:.9g},{least * bright:.9g})")
    if mastering.light is not None:
        found.append(f"{light}={mastering.light[0]},{mastering.light[1]}")
    options[option] = ":".join(found)


class Segment:
    """Up to `SEGMENT_FRAMES` frames as a video file of its own, numbered in place of times. Raises `OutputError`."""

    def __init__(self, path: Path, how: Encoding) -> None:
        self._path, self._how, self._count = path, how, 0
        self._unfinished = path.with_suffix(".unfinished")
        os.environ.setdefault("SVT_LOG", "1")  # only errors
        with writing(path):
            self._container = av.open(f"file:{self._unfinished}", "w", format="matroska")
            stream = self._container.add_stream(how.encoder, rate=how.rate, options=how.options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *how.size, how.pix_fmt
        self._stream, context, colors = stream, stream.codec_context, how.colors
        context.time_base, context.sample_aspect_ratio = 1 / how.rate, how.aspect
        context.colorspace, context.color_range = colors.matrix, colors.range
        context.color_primaries, context.color_trc = colors.primaries, colors.transfer
        try:
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            settings = " ".join(f"{name}={value}" for name, value in how.options.items())
            raise OutputError(f"{how.encoder} refuses its settings ({settings}, {how.pix_fmt})") from error

    def add(self, picture: Picture) -> None:
        """Encode a frame."""
        frame = to_frame(picture, self._how.colors, self._how.pix_fmt)
        frame.pts, frame.time_base, self._count = self._count, 1 / self._how.rate, self._count + 1
        self._encode(frame)

    def close(self) -> None:
        """Finish the file, which appears under its name."""
        self._encode(None)
        with writing(self._path):
            self._container.close()
            self._unfinished.replace(self._path)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        with writing(self._path):
            for packet in self._stream.encode(frame):
                # Of one or two frames x265 makes the dts from a delay that it never set.
                if packet.dts is not None and packet.pts is not None:
                    packet.dts = min(packet.dts, packet.pts)
                self._container.mux(packet)
