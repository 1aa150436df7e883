"""Segments and the rest of the source, joined into the result: packets are copied, time stamps are the source's."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from sr_cli.errors import OutputError
from sr_cli.video.decoding import Film, opened
from sr_cli.video.encoding import Encoding, writing

_MUXERS = {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}  # others are MP4
_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
_OF_THE_STREAM = ("encoder", "DURATION", "BPS", "NUMBER_OF", "_STATISTICS")  # prefixes; they change


def check_streams(film: Film, output: Path) -> None:
    """Find out, before any work, whether the result can hold the source's audio, subtitles and attachments.

    Raises:
        OutputError: it cannot.
    """
    with opened(film.path) as (source, video):
        others = [each for each in source.streams if each.index != video.index]
        with av.open(io.BytesIO(), "w", format=_muxer(output)) as target:
            if [each for each in others if _add(target, each, output) is not None]:
                try:
                    target.start_encoding()
                except (av.FFmpegError, ValueError) as error:
                    raise OutputError(f"{output}: doesn't hold the other streams; write .mkv") from error


def assemble(
    film: Film,
    segments: Sequence[Path],
    times: Sequence[int],
    path: Path,
    *,
    last_duration: int,
    output: Path,
    how: Encoding,
    keep_metadata: bool,
) -> None:
    """Write the result.

    Args:
        segments: files of frames, in order.
        times: of each frame, in units of the film's time base, rising.
        path: the file to write.
        last_duration: of the last frame.
        output: the name that the file will have.
        how: the segments are encoded.

    Raises:
        OutputError: it cannot be written.
    """
    with opened(film.path) as (source, video), av.open(f"file:{segments[0]}") as first, writing(output):
        options = {} if _muxer(output) in ("matroska", "webm") else {"movflags": _flags(source)}
        with av.open(f"file:{path}", "w", format=_muxer(output), options=options) as target:
            start = max(0, source.start_time or 0) if source.format.name.startswith("mpeg") else 0
            targets: dict[int, Stream] = {}
            for each in source.streams:
                if each.index == video.index:
                    made = target.add_stream_from_template(first.streams.video[0], opaque=True)
                    made.time_base = film.time_base
                    made.codec_context.sample_aspect_ratio = how.aspect
                    if how.tag:
                        made.codec_context.codec_tag = how.tag
                    pictures = made
                elif (added := _add(target, each, output)) is not None:
                    made = targets[each.index] = added
                else:
                    continue
                made.disposition = each.disposition
                made.metadata.update(_kept(each.metadata, _OF_THE_STREAM if each is video else ()))
                if not keep_metadata:
                    language = each.metadata.get("language")
                    made.metadata.clear()
                    made.metadata.update({"language": language} if language else {})
            if keep_metadata:
                target.metadata.update(_kept(source.metadata, _OF_THE_FILE))
            target.set_chapters([_moved(each, start) for each in source.chapters()])
            own = _own_packets(segments, times, film.time_base, last_duration, start, pictures)
            for packet in heapq.merge(own, _other_packets(source, targets, start), key=_seconds):
                target.mux(packet)


def _muxer(output: Path) -> str:
    return _MUXERS.get(output.suffix.lower(), "mp4")


def _flags(source: InputContainer) -> str:
    """Readable from its beginning; with names of metadata that only QuickTime has, such as com.apple.…, if needed."""
    return "+faststart" + "+use_metadata_tags" * any("." in name for name in source.metadata)


def _add(target: OutputContainer, stream: Stream, output: Path) -> Stream | None:
    """The stream of the result that a stream is copied to; ``None`` for data, which is left out."""
    if stream.type == "attachment":
        if target.format.name == "matroska":
            return target.add_stream_from_template(stream)
        return None
    if stream.type not in ("video", "audio", "subtitle"):
        return None
    try:
        return target.add_stream_from_template(stream, opaque=True)
    except ValueError as error:
        name = stream.codec_context.name
        raise OutputError(
            f"{output}: {target.format.name} doesn't hold its {stream.type} ({name}); write .mkv"
        ) from error


def _kept(metadata: dict[str, str], left_out: Iterable[str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if not name.startswith(tuple(left_out))}


def _moved(chapter: Any, start: int) -> Any:
    offset = round(Fraction(start, av.time_base) / chapter["time_base"])
    return {**chapter, "start": chapter["start"] - offset, "end": chapter["end"] - offset}


def _seconds(packet: av.Packet[Any]) -> float:
    return float((packet.dts or 0) * packet.time_base)


def _other_packets(source: InputContainer, targets: dict[int, Stream], start: int) -> Iterator[av.Packet[Any]]:
    if not targets:
        return
    for packet in source.demux([source.streams[index] for index in targets]):
        stream = targets[packet.stream.index]
        if stream.disposition & Disposition.attached_pic and packet.size:
            packet.pts = packet.dts = 0
        else:
            times = [each for each in (packet.pts, packet.dts) if each is not None]
            if not times:  # the end of a stream
                continue
            offset = round(Fraction(start, av.time_base) / packet.time_base)
            packet.pts, packet.dts = times[0] - offset, times[-1] - offset  # Matroska may have one of them
        packet.stream = stream
        yield packet


def _own_packets(
    segments: Sequence[Path], times: Sequence[int], time_base: Fraction, last_duration: int, start: int, stream: Stream
) -> Iterator[av.Packet[Any]]:
    """The packets of the segments in the order of decoding, with the times of their frames."""
    offset = round(Fraction(start, av.time_base) / time_base)
    ranks, first = [], 0
    for path in segments:
        ranks.append([first + rank for rank in _ranks(path)])
        first += len(ranks[-1])
    if first != len(times):
        raise OutputError(f"{segments[0].parent}: has {first} frames, not {len(times)}; delete it and start again")
    # Decoding a frame takes no time before all that are shown earlier: as late as the most reordered one allows.
    delay = max(index - rank for index, rank in enumerate(rank for part in ranks for rank in part))
    step = times[1] - times[0] if len(times) > 1 else last_duration
    index = 0
    for path, part in zip(segments, ranks, strict=True):
        with av.open(f"file:{path}") as segment:
            packets = (packet for packet in segment.demux(video=0) if packet.size)
            for packet, rank in zip(packets, part, strict=True):
                late = index - delay
                packet.time_base = time_base
                packet.pts = times[rank] - offset
                packet.dts = (times[late] if late >= 0 else times[0] + late * step) - offset
                packet.duration = times[rank + 1] - times[rank] if rank + 1 < len(times) else last_duration
                packet.stream = stream
                index += 1
                yield packet


def _ranks(path: Path) -> list[int]:
    """For each packet in the order of decoding, its place in the order of display."""
    with av.open(f"file:{path}") as segment:
        shown = [packet.pts or 0 for packet in segment.demux(video=0) if packet.size]
    place = {time: rank for rank, time in enumerate(sorted(shown))}
    return [place[time] for time in shown]
