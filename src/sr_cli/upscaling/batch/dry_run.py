"""What a batch would do and take, without doing it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from sr_cli.errors import SrError
from sr_cli.images import STRIP_FORMATS, format_of_suffix
from sr_cli.images.header import size_of
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.settings import Settings
from sr_cli.upscaling.upscaler import Upscaler

_TRIAL = 128  # side of the picture that shows how fast the network is here


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is expected of one picture.

    Attributes:
        seconds: for the network.
        memory: bytes, beyond what the program itself takes.
    """

    input: str
    output: str
    status: Literal["planned", "skipped", "failed"] = "planned"
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    seconds: float | None = None
    memory: int | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it, for ``json.dumps``."""
        return asdict(self)


def forecast(jobs: Sequence[Job], upscaler: Upscaler, settings: Settings) -> Iterator[Forecast]:
    """Predict a batch: sizes by the files' headers, time by a trial of the network on this machine."""
    pace: float | None = None
    for job in jobs:
        nothing = Forecast(input=str(job.source), output=str(job.output))
        if job.skip:
            yield replace(nothing, status="skipped")
            continue
        try:
            width, height = size_of(job.source)
            size = settings.target.of(width, height, scale=upscaler.scale)
        except (SrError, ValueError) as error:
            yield replace(nothing, status="failed", error=str(error))
            continue
        pace = pace or seconds_per_pixel(upscaler)
        passes = upscaler.passes((height, width), size[::-1])
        shown = sum(width * height * upscaler.scale ** (2 * i) for i in range(passes))
        yield replace(
            nothing, input_size=(width, height), output_size=size, seconds=shown * pace,
            memory=_memory(upscaler, (width, height), size, passes, settings.format or format_of_suffix(job.output)),
        )  # fmt: skip


def seconds_per_pixel(upscaler: Upscaler) -> float:
    """Time that the network takes for an LR pixel here, tiles' overlap not included."""
    lr = torch.rand(1, 3, _TRIAL, _TRIAL)
    upscaler.inference(lr)
    began = time.perf_counter()
    upscaler.inference(lr)
    return (time.perf_counter() - began) / _TRIAL**2


def _memory(upscaler: Upscaler, given: tuple[int, int], size: tuple[int, int], passes: int, format: str) -> int:
    """Bytes: the input, a row of tiles, pictures in between at 16 bits, and the output where it isn't streamed."""
    width, height = (side * upscaler.scale ** (passes - 1) for side in given)
    upscaler.inference.fit(height, width)
    tile = upscaler.inference.tile or (height, width)
    tiles = upscaler.inference.network_memory(*tile) + upscaler.inference.strip_memory(tile[0], width)
    between = 6 * width * height if passes > 1 else 0
    kept = 6 * width * height * upscaler.scale**2 if upscaler.color_match == "histogram" else 0
    output = 0 if format in STRIP_FORMATS else 3 * size[0] * size[1]
    return 3 * given[0] * given[1] + tiles + between + kept + output
