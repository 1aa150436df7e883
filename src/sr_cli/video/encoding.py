"""How a result is encoded: codecs, their settings, and segments, which appear one by one as whole files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from sr_cli.config import UpscaleConfig
from sr_cli.errors import OutputError
from sr_cli.images import Picture
from sr_cli.system.atomic_files import output_error
from sr_cli.video import CONTAINERS
from sr_cli.video.color import Colors, layout_of, standard_format, to_frame
from sr_cli.video.decoding import Film

SEGMENT_FRAMES = 100
"""Frames of a segment: what an interruption costs at most. Each begins with a key frame."""

_LARGEST_H264 = 4096  # pixels of a side: larger ones are beyond what hardware decodes
_MP4 = (".mp4", ".m4v", ".mov")
_RATES = (Fraction(1), Fraction(240))  # that encoders are told


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder and its defaults.

    Attributes:
        encoder: FFmpeg's name.
        crf: the default quality, which shows no difference; ``None`` where it is lossless.
        preset: the default speed.
        preset_option: the encoder's option for it.
        options: others.
    """

    encoder: str
    crf: float | None = None
    preset: str = ""
    preset_option: str = "preset"
    options: tuple[tuple[str, str], ...] = ()


_CODECS = {
    "h264": Codec(encoder="libx264", crf=17, preset="medium"),
    "hevc": Codec(encoder="libx265", crf=19, preset="medium", options=(("x265-params", "log-level=error"),)),
    "av1": Codec(encoder="libsvtav1", crf=22, preset="7"),
    "vp9": Codec(encoder="libvpx-vp9", crf=22, preset="3", preset_option="cpu-used", options=(("row-mt", "1"),)),
    "ffv1": Codec(encoder="ffv1", options=(("level", "3"), ("slicecrc", "1"))),
}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What makes the frames of a result into packets.

    Attributes:
        encoder: FFmpeg's name of it.
        pix_fmt: that of the source, or the nearest that the encoder takes.
        rate: frames per second, for the encoder's decisions; time stamps are set later.
        tag: of the codec, where players ask for a certain one.
    """

    encoder: str
    options: tuple[tuple[str, str], ...]
    pix_fmt: str
    size: tuple[int, int]
    rate: Fraction
    aspect: Fraction
    colors: Colors
    tag: str | None = None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an `OutputError` for what keeps ``path`` from being written."""
    try:
        yield
    except OSError as error:  # FFmpeg's errors of the system are Python's, too
        raise output_error(path, error) from error
    except av.FFmpegError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def choose_encoding(film: Film, size: tuple[int, int], output: Path, config: UpscaleConfig) -> Encoding:
    """The encoding of a result.

    Raises:
        OutputError: the file cannot hold it, or the codec has no such setting.
    """
    suffix, layout = output.suffix.lower(), layout_of(film.pix_fmt)
    if suffix not in CONTAINERS:
        raise OutputError(f"{output}: a video is written to {' '.join(CONTAINERS)}")
    name = config.video_codec
    if name == "auto":
        deep = layout is not None and layout.bits > 8
        name = "vp9" if suffix == ".webm" else "hevc" if deep or max(size) > _LARGEST_H264 else "h264"
    if (suffix == ".webm" and name not in ("vp9", "av1")) or (name == "ffv1" and suffix != ".mkv"):
        raise OutputError(f"{output}: {suffix[1:]} doesn't hold {name}; choose another --video-codec, or write .mkv")
    codec = _CODECS[name]
    options = dict(codec.options)
    if codec.crf is None and (config.crf is not None or config.preset):
        raise OutputError(f"{output}: {name} is lossless and has no --crf and no --preset")
    if codec.crf is not None:
        options["crf"] = f"{codec.crf if config.crf is None else config.crf:g}"
        options[codec.preset_option] = config.preset or codec.preset
    try:
        formats = av.Codec(codec.encoder, "w").video_formats or []
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(f"{output}: this PyAV has no {codec.encoder}; choose another --video-codec") from error
    pix_fmt = standard_format(film.pix_fmt, [each.name for each in formats])
    colors = film.colors
    if film.pix_fmt.startswith("gbr") and not pix_fmt.startswith("gbr"):  # RGB has no matrix of its own
        colors = Colors(matrix=1, primaries=colors.primaries, transfer=colors.transfer, range=1)
    aspect = film.aspect
    if config.size is not None:  # which may have another shape than the source
        aspect *= Fraction(film.width * size[1], film.height * size[0])
    aspect = aspect.limit_denominator(1000)
    if aspect != 1 and name not in ("h264", "hevc") and suffix not in _MP4:  # PyAV cannot set it in Matroska
        raise OutputError(
            f"{output}: {suffix[1:]} doesn't hold that pixels of {name} are {aspect.numerator}:{aspect.denominator}; "
            "choose another --video-codec, or a --size that makes them square"
        )
    return Encoding(
        encoder=codec.encoder,
        options=tuple(sorted(options.items())),
        pix_fmt=pix_fmt,
        size=size,
        rate=min(max(film.rate, _RATES[0]), _RATES[1]),
        aspect=aspect,
        colors=colors,
        tag="hvc1" if name == "hevc" and suffix in _MP4 else None,
    )


class Segment:
    """Up to `SEGMENT_FRAMES` frames, as a video file of its own, whose frames are numbered in place of a time.

    Raises:
        OutputError: the encoder refuses its settings, or the disk is full.
    """

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self._path, self._encoding, self._count = path, encoding, 0
        self._unfinished = path.with_suffix(".unfinished")
        os.environ.setdefault("SVT_LOG", "1")  # only errors
        with writing(path):
            self._container = av.open(f"file:{self._unfinished}", "w", format="matroska")
            self._stream = self._open(encoding)

    def _open(self, encoding: Encoding) -> VideoStream:
        stream = self._container.add_stream(encoding.encoder, rate=encoding.rate, options=dict(encoding.options))
        assert isinstance(stream, VideoStream)
        context, colors = stream.codec_context, encoding.colors
        stream.width, stream.height = encoding.size
        stream.pix_fmt, context.time_base = encoding.pix_fmt, 1 / encoding.rate
        context.sample_aspect_ratio = encoding.aspect
        context.colorspace, context.color_range = colors.matrix, colors.range
        context.color_primaries, context.color_trc = colors.primaries, colors.transfer
        try:
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            settings = " ".join(f"{name}={value}" for name, value in encoding.options)
            raise OutputError(f"{encoding.encoder} refuses its settings ({settings}, {encoding.pix_fmt})") from error
        return stream

    def add(self, picture: Picture) -> None:
        """Encode a frame."""
        frame = to_frame(picture, self._encoding.colors, self._encoding.pix_fmt)
        frame.pts, frame.time_base = self._count, 1 / self._encoding.rate
        self._count += 1
        with writing(self._path):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file, which appears under its name."""
        with writing(self._path):
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._unfinished.replace(self._path)

    def abandon(self) -> None:
        """Leave the file unfinished."""
        with suppress(av.FFmpegError):
            self._container.close()
