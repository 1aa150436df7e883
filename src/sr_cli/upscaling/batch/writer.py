"""A result on its way to its file: one thread computes it, another encodes it, a bounded pipe joins them."""

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Generic, TypeVar

from sr_cli import images
from sr_cli.config import UpscaleConfig
from sr_cli.errors import DeviceError, DiskError, ImageError, OutputExistsError, SrError, is_out_of_memory
from sr_cli.images import Picture
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.batch.staging import Staged
from sr_cli.upscaling.upscaler import join_strips
from sr_cli.weights.checksums import sha256_of

T = TypeVar("T")

_CAPACITY = 12  # items in a pipe; each is a strip of a few megabytes, or a whole small picture
_POLL_SECONDS = 0.2  # between two checks whether the other side has given up


class ConsumerGone(Exception):  # noqa: N818
    """The consumer of a pipe is gone; it holds the error."""


class BoundedPipe(Generic[T]):
    """A bounded queue between two threads that has an end. When one side fails, the other one learns of it."""

    def __init__(self) -> None:
        self._items: queue.Queue[T | None] = queue.Queue(_CAPACITY)
        self._error: BaseException | None = None
        self._closed = threading.Event()

    def put(self, item: T | None) -> None:
        """Add an item, ``None`` at the end; `ConsumerGone` if the consumer has closed the pipe."""
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return
        raise ConsumerGone

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in the consumer, whatever is still queued."""
        self._error = error

    def close(self) -> None:
        """Accept no more items; called by the consumer."""
        self._closed.set()

    def __iter__(self) -> Iterator[T]:
        while True:
            if self._error is not None:
                raise self._error
            try:
                item = self._items.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item


class Writing:
    """The state of one job between decoding and its final `Result`.

    Attributes:
        pipe: strips of the result, or frames of an animation.
        pixels: of the result; 0 until its size is known.
        facts: the result, as far as it is known.
    """

    def __init__(self, staged: Staged) -> None:
        self.staged = staged
        job = staged.job
        self.pipe: BoundedPipe[Any] = BoundedPipe()
        self.pixels = 0
        self.facts = Result(input=str(job.source), output=str(job.output), status="skipped" if job.skip else "done")
        self.encode_seconds: Future[float] | None = None
        self._sha256: str | None = None
        self._error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        if self.staged.job.skip or self._error is not None:
            return True
        return self.encode_seconds is not None and self.encode_seconds.done()

    def fail(self, error: BaseException) -> None:
        """End the job with an error; its file, if it was begun, is discarded."""
        self._error = error
        self.pipe.fail(error)

    def deliver(self, config: UpscaleConfig) -> float:
        """The result's file is written: put it where it belongs; returns the seconds that this took."""
        began = time.perf_counter()
        self._sha256 = sha256_of(self.staged.output) if config.manifest else None
        self.staged.deliver()
        return time.perf_counter() - began

    def result(self) -> Result:
        """The outcome; waits for it."""
        try:
            if self.encode_seconds is not None:
                seconds = self.encode_seconds.result()
                return replace(self.facts, encode_seconds=seconds, sha256=self._sha256)
            if self._error is not None:
                raise self._error
        except SrError as error:
            if self.staged.job.keep and isinstance(error, OutputExistsError):  # another process was faster
                return replace(self.facts, status="skipped")
            return self._failed(error)
        except Exception as error:  # whatever went wrong with one picture must not end the others
            name = self.staged.job.source
            if is_out_of_memory(error):
                return self._failed(DeviceError(f"{name}: out of memory; close other programs"))
            return self._failed(ImageError(f"{name}: failed unexpectedly ({type(error).__name__}: {error})"))
        return self.facts

    def _failed(self, error: SrError) -> Result:
        return replace(
            self.facts,
            status="failed",
            error=self.staged.renamed(str(error)),
            exit_code=error.exit_code,
            disk_failed=isinstance(error, DiskError),
        )


def write_frames(writing: Writing, loop: int, format: str, config: UpscaleConfig) -> float:
    """Write an animation from the frames in the pipe; returns the seconds spent on it."""
    began, staged = time.perf_counter(), writing.staged
    try:
        images.write_animation(
            iter(writing.pipe),
            staged.output,
            loop=loop,
            format=format,
            quality=config.quality,
            overwrite=staged.job.overwrite,
        )
    finally:
        writing.pipe.close()
    writing.deliver(config)
    return time.perf_counter() - began


def write_strips(
    writing: Writing, picture: Picture, size: tuple[int, int], format: str, config: UpscaleConfig
) -> float:
    """Write a result strip by strip, or whole where its format wants that; returns the seconds spent, without waits."""
    staged, waited = writing.staged, 0.0

    def strips() -> Iterator[Picture]:
        nonlocal waited
        pending = iter(writing.pipe)
        while True:
            began = time.perf_counter()
            strip = next(pending, None)
            waited += time.perf_counter() - began
            if strip is None:
                return
            yield strip

    began = time.perf_counter()
    try:
        if format in images.STRIP_FORMATS:
            images.write_strips(
                strips(),
                staged.output,
                like=picture,
                size=size,
                format=format,
                png_level=config.png_level,
                overwrite=staged.job.overwrite,
            )
        else:
            whole = join_strips(strips(), like=picture, size=size)
            images.write(whole, staged.output, format=format, quality=config.quality, overwrite=staged.job.overwrite)
    finally:
        writing.pipe.close()
    writing.deliver(config)
    return time.perf_counter() - began - waited
