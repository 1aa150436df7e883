"""Segments and the rest of the source, joined into the result: packets are copied, times are the source's."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Sequence
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
_CHANGED = (
    "encoder", "DURATION", "BPS", "NUMBER_OF", "_STATISTICS", "major_brand", "minor_version", "compatible_b",
    "alpha_mode",
)  # fmt: skip


def check_streams(film: Film, output: Path) -> None:
    """Raise `OutputError`, before any work, if the result cannot hold the source's audio, subtitles or attachments."""
    with opened(film.path) as (source, video), av.open(io.BytesIO(), "w", format=_muxer(output)) as target:
        others = [_add(target, each, output) for each in source.streams if each.index != video.index]
        if any(others):
            with writing(output):
                target.start_encoding()


def assemble(
    film: Film, segments: Sequence[Path], times: Sequence[int], path: Path, *, output: Path, how: Encoding, keep: bool
) -> None:
    """Write the result; an `OutputError` if it cannot be written.

    Args:
        times: of each frame, and of the end, in units of the film's time base, rising.
        output: the name that it will have.
        keep: metadata, not only languages.
    """
    with opened(film.path) as (source, video), av.open(f"file:{segments[0]}") as first, writing(output):
        options = {} if _muxer(output) in ("matroska", "webm") else {"movflags": "+faststart"}
        if options and any("." in name for name in source.metadata):  # names that only QuickTime has: com.apple.…
            options["movflags"] += "+use_metadata_tags"
        with av.open(f"file:{path}", "w", format=_muxer(output), options=options) as target:
            own = target.add_stream_from_template(first.streams.video[0], opaque=True)
            own.time_base, own.codec_context.sample_aspect_ratio = film.time_base, how.aspect
            if how.tag:
                own.codec_context.codec_tag = how.tag
            targets: dict[int, Stream] = {}
            for each in [video, *(each for each in source.streams if each.index != video.index)]:
                made = own if each is video else _add(target, each, output)
                if made is not None:
                    targets[each.index] = made
                    made.disposition = each.disposition
                    made.metadata.clear()
                    made.metadata.update(_kept(each.metadata, keep=keep or each.type == "attachment"))
            target.metadata.update(_kept(source.metadata, keep=keep))
            target.set_chapters(source.chapters())
            others = _other_packets(source, targets, video.index)
            for packet in heapq.merge(_own_packets(segments, times, own, film.time_base), others, key=_seconds):
                target.mux(packet)


def _muxer(output: Path) -> str:
    return _MUXERS.get(output.suffix.lower(), "mp4")


def _add(target: OutputContainer, stream: Stream, output: Path) -> Stream | None:
    """The stream of the result that a stream is copied to; ``None`` for data, which is left out."""
    if stream.type == "attachment" and target.format.name == "matroska":
        return target.add_stream_from_template(stream)
    if stream.type not in ("video", "audio", "subtitle"):
        return None
    try:
        return target.add_stream_from_template(stream, opaque=True)
    except ValueError as error:
        what = f"{stream.type} ({stream.codec_context.name})"
        raise OutputError(f"{output}: {target.format.name} doesn't hold its {what}; write .mkv") from error


def _kept(metadata: dict[str, str], *, keep: bool) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if (keep or k == "language") and not k.startswith(_CHANGED)}


def _seconds(packet: av.Packet[Any]) -> float:
    return float((packet.dts or 0) * packet.time_base)


def _other_packets(source: InputContainer, targets: dict[int, Stream], left_out: int) -> Iterator[av.Packet[Any]]:
    streams = [source.streams[index] for index in targets if index != left_out]
    for packet in source.demux(streams) if streams else ():
        stream, times = targets[packet.stream.index], [each for each in (packet.pts, packet.dts) if each is not None]
        if not times and stream.disposition & Disposition.attached_pic and packet.size:
            times = [0]
        if times:  # else it is the end of the stream; Matroska may have one of the times
            packet.pts, packet.dts, packet.stream = times[0], times[-1], stream
            yield packet


def _own_packets(
    segments: Sequence[Path], times: Sequence[int], stream: Stream, time_base: Fraction
) -> Iterator[av.Packet[Any]]:
    """The packets of the segments in the order of decoding, with the times of their frames."""
    ranks: list[int] = []
    for path in segments:
        with av.open(f"file:{path}") as segment:
            shown = [packet.pts or 0 for packet in segment.demux(video=0) if packet.size]
        place = {time: len(ranks) + rank for rank, time in enumerate(sorted(shown))}
        ranks += [place[time] for time in shown]
    if len(ranks) != len(times) - 1:
        raise OutputError(f"{segments[0].parent}: doesn't hold {len(times) - 1} frames; delete it and start again")
    # Decoding a frame takes no time, before those that are shown later: as late as the most reordered one allows.
    delay = max(index - rank for index, rank in enumerate(ranks))
    packets = (packet for path in segments for packet in _packets(path))
    for index, (packet, rank) in enumerate(zip(packets, ranks, strict=True)):
        late = index - delay
        packet.time_base, packet.stream = time_base, stream
        packet.pts, packet.duration = times[rank], times[rank + 1] - times[rank]
        packet.dts = times[late] if late >= 0 else times[0] + late * (times[1] - times[0])
        yield packet


def _packets(path: Path) -> Iterator[av.Packet[Any]]:
    with av.open(f"file:{path}") as segment:
        yield from (packet for packet in segment.demux(video=0) if packet.size)
