"""The batch as a pipeline: while one picture is in the network, the next is decoded and the last is written."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sr_cli import __version__, images
from sr_cli.config import UpscaleConfig
from sr_cli.errors import ImageError, OutputExistsError, one_line
from sr_cli.images import Picture
from sr_cli.system.device import peak_memory, reset_peak_memory
from sr_cli.upscaling.batch.interruption import Interruption
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.batch.staging import Staged, Staging
from sr_cli.upscaling.batch.target_size import target_size
from sr_cli.upscaling.batch.writer import ConsumerGone, Writing, write_frames, write_strips
from sr_cli.upscaling.upscaler import Upscaler
from sr_cli.video import even_size, is_video, read_film

if TYPE_CHECKING:
    from sr_cli.video.decoding import Film

_MAX_WAITING_PIXELS = 64_000_000  # decoded pixels that wait for the network, and computed ones for the encoder
_MAX_LOOKAHEAD = 1000  # jobs, skipped ones included

OnStrip = Callable[[Picture], None]


class Watcher(Protocol):
    """Follows the progress of a batch."""

    def on_picture(self, job: Job, picture: Picture, size: tuple[int, int]) -> OnStrip | None:
        """A picture enters the network; its result will be ``size``. May return a callback for the result's strips."""

    def on_tile(self, done: int, count: int) -> None:
        """A tile of that picture, or a frame of an animation, is done."""

    def on_frame(self, done: int, count: int, before: int) -> None:
        """A frame of that video is done; an interrupted run had done ``before``, and ``count`` is an estimate."""


class _NoWatcher:
    def on_picture(self, job: Job, picture: Picture, size: tuple[int, int]) -> None: ...

    def on_tile(self, done: int, count: int) -> None: ...

    def on_frame(self, done: int, count: int, before: int) -> None: ...


def run(
    jobs: Iterable[Job],
    upscaler: Upscaler,
    config: UpscaleConfig,
    watcher: Watcher | None = None,
    interruption: Interruption | None = None,
) -> Iterator[Result]:
    """Upscale pictures. One that fails gives a result that says so, and the others go on.

    Closing the iterator early never leaves a partial file. Neither does a `KeyboardInterrupt`: results that are
    written already are yielded before it is raised again.

    Args:
        jobs: may be found while others are done already.
        interruption: raises `KeyboardInterrupt` once it is wanted.

    Yields:
        A result for each job, in order.
    """
    with ExitStack() as stack:
        pipeline = _Pipeline(upscaler, config, watcher or _NoWatcher(), interruption or Interruption(), stack)
        try:
            yield from pipeline.results(jobs)
        except KeyboardInterrupt:
            yield from pipeline.stop()
            raise


@dataclass(frozen=True)
class _Decoded:
    picture: Picture | None
    seconds: float
    error: Exception | None = None
    film: "Film | None" = None


class _Pipeline:
    """Decoders, the network (in the calling thread) and encoders, with the pictures between them."""

    def __init__(
        self, upscaler: Upscaler, config: UpscaleConfig, watcher: Watcher, interruption: Interruption, stack: ExitStack
    ) -> None:
        self.upscaler, self.config, self.watcher, self.interruption = upscaler, config, watcher, interruption
        self.decoders, self.encoders = (ThreadPoolExecutor(config.jobs) for _ in range(2))
        self.unfinished: deque[Writing] = deque()
        self.staging = Staging()
        stack.callback(self.staging.close)
        stack.callback(self.encoders.shutdown, cancel_futures=True)
        stack.callback(self._abandon)
        stack.callback(self.decoders.shutdown, cancel_futures=True)

    def results(self, jobs: Iterable[Job]) -> Iterator[Result]:
        for staged, decoded in self._decode_ahead(jobs):
            writing = Writing(staged)
            self.unfinished.append(writing)
            if decoded is not None:
                self.interruption.wait_for(decoded)
                for _ in self._upscale(writing, decoded.result()):
                    yield from self._finished()
                    self.interruption.check()
            yield from self._finished()
            while self._encoders_lag():
                yield self._first()
        while self.unfinished:
            yield self._first()

    def stop(self) -> Iterator[Result]:
        """Abandon what is unfinished; yields the results that are written nevertheless."""
        self._abandon()
        self.encoders.shutdown(cancel_futures=True)
        yield from (result for result in (each.result() for each in self.unfinished) if result.status == "done")

    def _abandon(self) -> None:
        for writing in self.unfinished:
            writing.fail(ConsumerGone())

    def _finished(self) -> Iterator[Result]:
        while self.unfinished and self.unfinished[0].is_over:
            yield self._first()

    def _first(self) -> Result:
        first = self.unfinished[0]  # if the wait is interrupted, `stop` must still find the job
        if first.encode_seconds is not None:
            self.interruption.wait_for(first.encode_seconds)
        result = first.result()
        self.unfinished.popleft().staged.discard()
        return result

    def _encoders_lag(self) -> bool:
        unwritten = [each for each in self.unfinished if not each.is_over]
        return len(unwritten) > self.config.jobs or sum(each.pixels for each in unwritten) > _MAX_WAITING_PIXELS

    def _decode_ahead(self, jobs: Iterable[Job]) -> Iterator[tuple[Staged, "Future[_Decoded] | None"]]:
        """The jobs in order; some of the following ones are being decoded already."""
        ahead: deque[tuple[Staged, Future[_Decoded] | None]] = deque()
        for staged in map(self.staging.stage, jobs):
            ahead.append((staged, None if staged.job.skip else self.decoders.submit(self._decode, staged)))
            futures = [future for _, future in ahead if future is not None]
            pictures = [future.result().picture for future in futures if future.done()]
            pixels = sum(picture.width * picture.height for picture in pictures if picture is not None)
            if len(futures) > self.config.jobs or len(ahead) >= _MAX_LOOKAHEAD or pixels >= _MAX_WAITING_PIXELS:
                yield ahead.popleft()
        yield from ahead

    def _decode(self, staged: Staged) -> _Decoded:
        began = time.perf_counter()
        try:
            staged.fetch(self.config.max_input)
            if is_video(staged.source):
                film, picture = read_film(
                    staged.source, max_pixels=self.config.max_input, deinterlace=self.config.deinterlace
                )
                return _Decoded(picture, time.perf_counter() - began, film=film)
            picture = images.read(staged.source, max_pixels=self.config.max_input, smooth_jpeg=self.config.smooth_jpeg)
        except Exception as error:  # raised again when it is this job's turn
            return _Decoded(None, time.perf_counter() - began, error)
        if self.config.metadata == "strip":
            picture = picture.without_metadata()
        return _Decoded(picture, time.perf_counter() - began)

    def _upscale(self, writing: Writing, decoded: _Decoded) -> Iterator[None]:
        """Run the network and hand its output to an encoder; yields after each strip, so that results get out."""
        staged, picture = writing.staged, decoded.picture
        job = staged.job
        try:
            if picture is None:
                raise decoded.error or ImageError(f"{job.source}: cannot be read")
            if job.keep and isinstance(job.output, Path) and os.path.lexists(job.output):
                raise OutputExistsError(f"{job.output}: already exists")
            upscaler, reason = self.upscaler.suited_to(picture, staged.source)
            size = self._target_size(job, picture)
            if decoded.film is not None:
                yield from self._upscale_film(writing, decoded.film, picture, upscaler, reason)
                return
            format = self.config.format or images.format_of_suffix(staged.output)
            images.check_side(format, *size)
            animated = self.config.animate and all(each in images.ANIMATED_FORMATS for each in (format, picture.format))
            writing.pixels = size[0] * size[1]
            _note_plan(writing, upscaler, reason, (picture.width, picture.height), size)
            warnings = _warnings(staged.source, picture, format, animated=animated)
            writing.facts = replace(writing.facts, decode_seconds=decoded.seconds, warnings=warnings)
            if self.config.metadata != "strip":
                picture = _with_history(picture, upscaler, size)
            on_strip = self.watcher.on_picture(job, picture, size)
            if upscaler.device.type == "cuda":  # on a CPU it would give back the memory that the next picture reuses
                reset_peak_memory(upscaler.device)
            began = time.perf_counter()
            if animated:
                frames = yield from self._upscale_frames(writing, upscaler, format, on_strip)
            else:
                frames = 1
                writing.encode_seconds = self.encoders.submit(write_strips, writing, picture, size, format, self.config)
                strips = upscaler.strips(picture, size=size, on_tile=self.watcher.on_tile)
                for strip in self.interruption.each(strips):
                    if on_strip:
                        on_strip(strip)
                    writing.pipe.put(strip)
                    yield
            writing.pipe.put(None)
            _note_work(writing, upscaler, began, frames=frames)
        except ConsumerGone:  # the encoder holds the error
            return
        except Exception as error:
            writing.fail(error)

    def _upscale_film(
        self, writing: Writing, film: "Film", picture: Picture, upscaler: Upscaler, reason: str | None
    ) -> Iterator[None]:
        """Upscale a video; unlike a picture, it is written when this ends."""
        from sr_cli.video.encoding import choose_encoding
        from sr_cli.video.work import upscale_film

        staged = writing.staged
        size = even_size(self._target_size(staged.job, picture))
        how = choose_encoding(film, size, staged.output, self.config)
        _note_plan(writing, upscaler, reason, film.size, size)
        writing.facts = replace(writing.facts, warnings=tuple(f"the result lacks {each}" for each in how.lost))
        on_strip, done, before = self.watcher.on_picture(staged.job, picture, size), 0, 0

        def upscale(picture: Picture) -> Picture:
            nonlocal on_strip
            large = self.interruption.compute(lambda: upscaler.upscale_picture(picture, size=size))
            if on_strip:
                on_strip(large)
                on_strip = None
            return large

        began = time.perf_counter()
        progress = upscale_film(
            film,
            staged.output,
            upscale,
            how=how,
            config=self.config,
            identity={"source": staged.identity(), **upscaler.identity()},
            overwrite=staged.job.overwrite,
            folder=staged.work,
        )
        for done, before in progress:
            self.watcher.on_frame(done, max(done, film.frames), before)
            yield
        _note_work(writing, upscaler, began, frames=done, before=before)
        writing.encode_seconds = self.encoders.submit(writing.deliver, self.config)

    def _upscale_frames(
        self, writing: Writing, upscaler: Upscaler, format: str, on_strip: OnStrip | None
    ) -> Generator[None, None, int]:
        """Upscale every frame of an animation (a still picture counts as one frame); returns their number."""
        with images.open_animation(writing.staged.source, max_pixels=self.config.max_input) as animation:
            writing.encode_seconds = self.encoders.submit(write_frames, writing, animation.loop, format, self.config)
            for index, frame in enumerate(animation.frames):
                size = self._target_size(writing.staged.job, frame.picture)
                large = self.interruption.compute(partial(upscaler.upscale_picture, frame.picture, size=size))
                if index == 0 and self.config.metadata != "strip":
                    large = _with_history(large, upscaler, size)
                if on_strip and index == 0:
                    on_strip(large)
                writing.pipe.put(replace(frame, picture=large))
                self.watcher.on_tile(index + 1, animation.count)
                yield
            return animation.count

    def _target_size(self, job: Job, picture: Picture) -> tuple[int, int]:
        try:
            return target_size(self.config, picture.width, picture.height, network_scale=self.upscaler.scale)
        except ValueError as error:
            raise ImageError(f"{job.source}: {error}") from error


def _note_plan(
    writing: Writing, upscaler: Upscaler, reason: str | None, size: tuple[int, int], target: tuple[int, int]
) -> None:
    """Note which model makes one width and height of another, and how."""
    writing.facts = replace(
        writing.facts,
        input_size=size,
        output_size=target,
        scale=upscaler.scale,
        passes=upscaler.passes(size[::-1], target[::-1]),
        model=upscaler.name,
        reason=reason,
    )


def _note_work(writing: Writing, upscaler: Upscaler, began: float, *, frames: int, before: int = 0) -> None:
    """Note what the network has done since ``began``: all frames but those ``before``, of an interrupted run."""
    seconds = time.perf_counter() - began
    width, height = writing.facts.output_size or (0, 0)
    writing.facts = replace(
        writing.facts,
        seconds=seconds,
        frames=frames,
        frames_before=before,
        megapixels_per_second=(frames - before) * width * height / 1e6 / seconds if seconds else None,
        device=str(upscaler.device),
        dtype=upscaler.dtype_name,
        tile=upscaler.runner.tile,
        peak_memory=peak_memory(upscaler.device),
    )


def _with_history(picture: Picture, upscaler: Upscaler, size: tuple[int, int]) -> Picture:
    """The picture with metadata that name the model and the size that a result has."""
    how = one_line(f"upscaled to {size[0]}×{size[1]} by {upscaler.name}")
    xmp = images.with_history(picture.metadata.xmp, tool=f"sr {__version__}", parameters=how)
    return replace(picture, metadata=replace(picture.metadata, xmp=xmp))


def _warnings(source: Path, picture: Picture, format: str, *, animated: bool) -> tuple[str, ...]:
    """What of a file doesn't get into its result."""
    lost = images.losses(picture, format)
    limits = {
        "more than 256 colors": "is limited to 256 colors",
        "alpha": "has no transparency: white is put behind it",
    }
    found = [f"{format} {text}" for what, text in limits.items() if what in lost]
    rest = [what for what in lost if what not in limits]
    found += [f"{format} doesn't hold {', '.join(rest)}"] if rest else []
    found += picture.notes
    behind = images.companions(picture.metadata.xmp)
    if behind:
        found.append(f"{' and '.join(behind)} in its file is not kept")
    elif picture.format not in images.ANIMATED_FORMATS and images.holds_several(source):
        found.append("only the first picture of its file is upscaled")
    if picture.format in images.ANIMATED_FORMATS and not animated and (count := images.count_frames(source)) > 1:
        found.append(f"only the first of {count} frames is upscaled; --animate does all, as GIF, WebP, AVIF or PNG")
    return tuple(found)
