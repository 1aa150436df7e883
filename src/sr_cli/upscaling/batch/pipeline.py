"""Running a batch: while one picture is in the network, the next is decoded and the last is written."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sr_cli import images
from sr_cli.errors import ImageError
from sr_cli.images import Picture
from sr_cli.system.peak_memory import peak_memory, reset_peak_memory
from sr_cli.upscaling.batch.handover import Abandoned
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.batch.settings import Settings
from sr_cli.upscaling.batch.writer import Writing, write_frames, write_strips
from sr_cli.upscaling.upscaler import Upscaler

if TYPE_CHECKING:
    from sr_cli.upscaling.batch.energy import EnergyReader

_WAITING_PIXELS = 64_000_000  # decoded pixels that may wait for the network, and computed ones for the encoder

OnStrip = Callable[[Picture], None]


class Watcher(Protocol):
    """Is told how a batch goes on."""

    def begins(self, job: Job, picture: Picture, size: tuple[int, int]) -> OnStrip | None:
        """A picture of which there will be a result of that width and height; may ask to be given its strips."""

    def tile(self, done: int, count: int) -> None:
        """A tile of that picture is done."""


class _Nobody:
    def begins(self, job: Job, picture: Picture, size: tuple[int, int]) -> None: ...

    def tile(self, done: int, count: int) -> None: ...


def run(
    jobs: Sequence[Job],
    upscaler: Upscaler,
    settings: Settings,
    watcher: Watcher | None = None,
    stopped: threading.Event | None = None,
) -> Iterator[Result]:
    """Upscale pictures.

    A picture that fails is a result that says so, and the others go on. Whoever ends the iteration early finds each
    result there as a whole or not at all. A `KeyboardInterrupt` within it ends it after the results that are there.

    Args:
        stopped: set while a result is looked at, it acts as a `KeyboardInterrupt` would.

    Yields:
        A result for each job, in their order.

    Raises:
        KeyboardInterrupt: it was interrupted; all that was written has been yielded.
    """
    waiting: deque[Writing] = deque()
    with ExitStack() as stack:
        decoders, encoders = (ThreadPoolExecutor(settings.threads) for _ in range(2))
        stack.callback(encoders.shutdown, cancel_futures=True)
        stack.callback(_abandon, waiting)
        stack.callback(decoders.shutdown, cancel_futures=True)
        try:
            for result in _results(jobs, upscaler, settings, watcher or _Nobody(), decoders, encoders, waiting):
                yield result
                if stopped and stopped.is_set():
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            _abandon(waiting)
            encoders.shutdown(cancel_futures=True)
            yield from (result for result in (each.result() for each in waiting) if result.status == "done")
            raise


def _results(
    jobs: Sequence[Job],
    upscaler: Upscaler,
    settings: Settings,
    watcher: Watcher,
    decoders: ThreadPoolExecutor,
    encoders: ThreadPoolExecutor,
    waiting: deque[Writing],
) -> Iterator[Result]:
    energy = _energy_reader(upscaler) if settings.measure_energy else None
    for job, decoded in _decoded(jobs, settings, decoders):
        writing = Writing(job)
        waiting.append(writing)
        for _ in _upscale(writing, decoded, upscaler, settings, watcher, encoders, energy):
            yield from _ready(waiting)
        yield from _ready(waiting)
        while _too_many(waiting, settings.threads):
            yield _first(waiting)
    while waiting:
        yield _first(waiting)


def _first(waiting: deque[Writing]) -> Result:
    result = waiting[0].result()  # an interruption of this wait must find it among the others still
    waiting.popleft()
    return result


def _energy_reader(upscaler: Upscaler) -> "EnergyReader":
    from sr_cli.upscaling.batch.energy import EnergyReader  # takes its time to load, and few ask for it

    return EnergyReader(upscaler.device)


@dataclass(frozen=True)
class _Decoded:
    picture: Picture | None
    seconds: float
    error: Exception | None = None


def _ready(waiting: deque[Writing]) -> Iterator[Result]:
    while waiting and waiting[0].is_over:
        yield _first(waiting)


def _abandon(waiting: Sequence[Writing]) -> None:
    for writing in waiting:
        writing.fails(Abandoned())


def _too_many(waiting: Sequence[Writing], threads: int) -> bool:
    unwritten = [each for each in waiting if not each.is_over]
    return len(unwritten) > threads or sum(each.pixels for each in unwritten) > _WAITING_PIXELS


def _decoded(
    jobs: Sequence[Job], settings: Settings, decoders: ThreadPoolExecutor
) -> Iterator[tuple[Job, "Future[_Decoded] | None"]]:
    """The jobs in order, with some of those that follow being decoded already."""
    ahead: deque[tuple[Job, Future[_Decoded] | None]] = deque()
    rest = iter(jobs)
    for job in rest:
        ahead.append((job, None if job.skip else decoders.submit(_decode, job, settings)))
        if not _room(ahead, settings.threads):
            yield ahead.popleft()
    yield from ahead


def _room(ahead: Sequence[tuple[Job, "Future[_Decoded] | None"]], threads: int) -> bool:
    futures = [future for _, future in ahead if future is not None]
    pictures = [future.result().picture for future in futures if future.done()]
    pixels = sum(picture.width * picture.height for picture in pictures if picture is not None)
    return len(futures) <= threads and len(ahead) < 1000 and pixels < _WAITING_PIXELS


def _decode(job: Job, settings: Settings) -> _Decoded:
    began = time.perf_counter()
    try:
        picture = images.read(job.source, max_pixels=settings.max_input_pixels)
    except Exception as error:  # goes on in the order of the jobs
        return _Decoded(None, time.perf_counter() - began, error)
    if not settings.keep_metadata:
        picture = picture.without_metadata()
    return _Decoded(picture, time.perf_counter() - began)


def _upscale(
    writing: Writing,
    decoding: "Future[_Decoded] | None",
    upscaler: Upscaler,
    settings: Settings,
    watcher: Watcher,
    encoders: ThreadPoolExecutor,
    energy: "EnergyReader | None",
) -> Iterator[None]:
    """Run the network, and hand what comes out to a thread that writes it. Now and then it lets the caller look."""
    if decoding is None:
        return
    decoded = decoding.result()
    job, picture = writing.job, decoded.picture
    try:
        if picture is None:
            raise decoded.error or ImageError(f"{job.source}: cannot be read")
        size = _size(job, picture, upscaler, settings)
        format = settings.format or images.format_of_suffix(job.output)
        images.check_side(format, *size)
        writing.pixels = size[0] * size[1]
        writing.facts = replace(
            writing.facts, input_size=(picture.width, picture.height), output_size=size, scale=upscaler.scale,
            passes=upscaler.passes((picture.height, picture.width), size[::-1]), model=upscaler.name,
            decode_seconds=decoded.seconds, warnings=_warnings(picture, format),
        )  # fmt: skip
        on_strip = watcher.begins(job, picture, size)
        reset_peak_memory(upscaler.device)
        before = energy.read() if energy else None
        began = time.perf_counter()
        if settings.animate and format in images.ANIMATED_FORMATS and picture.format in images.ANIMATED_FORMATS:
            frames = yield from _hand_on_frames(writing, upscaler, settings, watcher, encoders, format)
        else:
            writing.starts(encoders.submit(write_strips, writing, picture, size, format, settings))
            frames = 1
            for strip in upscaler.strips(picture, size=size, on_tile=watcher.tile):
                if on_strip:
                    on_strip(strip)
                writing.pieces.put(strip)
                yield
        writing.pieces.put(None)
        seconds = time.perf_counter() - began
        writing.facts = replace(
            writing.facts, seconds=seconds, frames=frames,
            megapixels_per_second=frames * size[0] * size[1] / 1e6 / seconds if seconds else None,
            device=str(upscaler.device), dtype=upscaler.dtype_name, tile=upscaler.inference.tile,
            peak_memory=peak_memory(upscaler.device), joules=energy.since(before) if energy and before else None,
        )  # fmt: skip
    except Abandoned:  # the thread that writes has an error to tell
        return
    except Exception as error:
        writing.fails(error)


def _size(job: Job, picture: Picture, upscaler: Upscaler, settings: Settings) -> tuple[int, int]:
    try:
        return settings.target.of(picture.width, picture.height, scale=upscaler.scale)
    except ValueError as error:
        raise ImageError(f"{job.source}: {error}") from error


def _warnings(picture: Picture, format: str) -> tuple[str, ...]:
    lost = images.losses(picture, format)
    return (f"{format} doesn't hold {', '.join(lost)}",) if lost else ()


def _hand_on_frames(
    writing: Writing,
    upscaler: Upscaler,
    settings: Settings,
    watcher: Watcher,
    encoders: ThreadPoolExecutor,
    format: str,
) -> Generator[None, None, int]:
    """Upscale every frame of an animation; a picture that doesn't move is one of one frame."""
    with images.open_animation(writing.job.source, max_pixels=settings.max_input_pixels) as animation:
        writing.starts(encoders.submit(write_frames, writing, animation.loop, format, settings))
        for index, frame in enumerate(animation.frames):
            size = _size(writing.job, frame.picture, upscaler, settings)
            writing.pieces.put(replace(frame, picture=upscaler.upscale_picture(frame.picture, size=size)))
            watcher.tile(index + 1, animation.count)
            yield
        return animation.count
