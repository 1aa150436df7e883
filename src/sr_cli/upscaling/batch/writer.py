"""A result on its way to its file: computed in one thread, encoded in another."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from sr_cli import images
from sr_cli.errors import ImageError, SrError
from sr_cli.images import Frame, Picture
from sr_cli.upscaling.batch.handover import Handover
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.batch.settings import Settings
from sr_cli.upscaling.upscaler import joined


class Writing:
    """A result on its way to its file."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pieces: Handover[Any] = Handover()
        self.pixels = 0
        self.facts = Result(input=str(job.source), output=str(job.output), status="skipped" if job.skip else "done")
        self._written: Future[float] | None = None
        self._error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        return self.job.skip or self._error is not None or (self._written is not None and self._written.done())

    def starts(self, written: "Future[float]") -> None:
        self._written = written

    def fails(self, error: BaseException) -> None:
        self._error = error
        self.pieces.fail(error)

    def result(self) -> Result:
        """What became of it; waits until it is known."""
        try:
            if self._written is not None:
                return replace(self.facts, encode_seconds=self._written.result())
            if self._error is not None:
                raise self._error
        except SrError as error:
            return self._failed(error)
        except Exception as error:  # one picture's trouble, whatever it is, must not end the others
            return self._failed(ImageError(f"{self.job.source}: failed unexpectedly ({type(error).__name__}: {error})"))
        return self.facts

    def _failed(self, error: SrError) -> Result:
        return replace(self.facts, status="failed", error=str(error), exit_code=error.exit_code)


def write_frames(writing: Writing, loop: int, format: str, settings: Settings) -> float:
    began = time.perf_counter()
    frames: Iterator[Frame] = iter(writing.pieces)
    try:
        images.write_animation(
            frames, writing.job.output, loop=loop, format=format, quality=settings.quality,
            overwrite=writing.job.overwrite,
        )  # fmt: skip
    finally:
        writing.pieces.close()
    return time.perf_counter() - began


def write_strips(writing: Writing, picture: Picture, size: tuple[int, int], format: str, settings: Settings) -> float:
    """Write a result as its strips come in; in formats that must be written at once, when all are there.

    Returns:
        Seconds spent on it, without waiting for strips.
    """
    job, waited = writing.job, 0.0

    def strips() -> Iterator[Picture]:
        nonlocal waited
        pieces = iter(writing.pieces)
        while True:
            began = time.perf_counter()
            piece = next(pieces, None)
            waited += time.perf_counter() - began
            if piece is None:
                return
            yield piece

    began = time.perf_counter()
    try:
        if format in images.STRIP_FORMATS:
            images.write_strips(
                strips(), job.output, like=picture, size=size, format=format, png_level=settings.png_level,
                overwrite=job.overwrite,
            )  # fmt: skip
        else:
            whole = joined(strips(), like=picture, size=size)
            images.write(whole, job.output, format=format, quality=settings.quality, overwrite=job.overwrite)
    finally:
        writing.pieces.close()
    return time.perf_counter() - began - waited
