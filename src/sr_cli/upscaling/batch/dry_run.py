"""``--dry-run``: what a batch would write, and how long the network would take."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import torch

from sr_cli.config import UpscaleConfig
from sr_cli.errors import EXIT_SOME_FAILED, ImageError, SrError
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.batch.stores import size_at
from sr_cli.upscaling.batch.target_size import target_size
from sr_cli.upscaling.upscaler import Upscaler
from sr_cli.video import even_size, is_video, read_film

_TRIAL_SIDE = 128  # of the picture that the network is timed on


def dry_run(jobs: Iterable[Job], upscaler: Upscaler, config: UpscaleConfig) -> Iterator[Result]:
    """Predict the results of a batch: sizes from the files' headers, time from a trial run of the network."""
    seconds_per_pixel: float | None = None
    for job in jobs:
        result = Result(input=str(job.source), output=str(job.output), status="planned")
        if job.skip:
            yield replace(result, status="skipped")
            continue
        is_film = is_video(PurePath(job.source.name))
        try:
            frames = 1
            if is_film and isinstance(job.source, Path):
                film, _ = read_film(job.source, max_pixels=config.max_input, deinterlace=config.deinterlace)
                (width, height), frames = film.size, film.frames
            elif is_film:
                raise ImageError(f"{job.source}: nothing is known of a video in a store before it is fetched")
            else:
                width, height = size_at(job.source)
            size = target_size(config, width, height, network_scale=upscaler.scale)
            size = even_size(size) if is_film else size
        except (SrError, ValueError) as error:
            yield replace(result, status="failed", error=str(error), exit_code=EXIT_SOME_FAILED)
            continue
        seconds_per_pixel = seconds_per_pixel or measure_speed(upscaler)
        passes = upscaler.passes((height, width), size[::-1])
        pixels = frames * sum(width * height * upscaler.scale ** (2 * i) for i in range(passes))
        seconds = pixels * seconds_per_pixel
        yield replace(result, input_size=(width, height), output_size=size, frames=frames, seconds=seconds)


def measure_speed(upscaler: Upscaler, *, side: int = _TRIAL_SIDE) -> float:
    """Seconds that the network takes per LR pixel on this machine, in a trial on ``side`` × ``side`` pixels."""
    lr = torch.rand(1, 3, side, side)
    upscaler.runner(lr)
    began = time.perf_counter()
    upscaler.runner(lr)
    return (time.perf_counter() - began) / side**2
