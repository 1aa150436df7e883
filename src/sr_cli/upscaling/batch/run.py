"""A batch from start to end: find the pictures, name the results, upscale; or one picture through a pipe."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from sr_cli.config import AUTO, PIPE, UpscaleConfig
from sr_cli.errors import NoImagesError, OutputError, UsageError
from sr_cli.images import FORMATS, SUFFIXES
from sr_cli.images.header import detect_format, size_or_none
from sr_cli.system.quantities import pictures
from sr_cli.upscaling.batch.dry_run import dry_run
from sr_cli.upscaling.batch.find_inputs import Inputs, Source, find_inputs
from sr_cli.upscaling.batch.pipeline import Watcher, run
from sr_cli.upscaling.batch.plan_outputs import Job, Naming, name_outputs, resolve_existing, still_format
from sr_cli.upscaling.batch.results import Result, Summary
from sr_cli.upscaling.batch.target_size import target_size
from sr_cli.upscaling.upscaler import Upscaler
from sr_cli.video import CONTAINERS, even_size, is_video

_COPY_BYTES = 1 << 20  # at a time


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What goes in and where it goes.

    Attributes:
        inputs: files, folders and patterns, or `PIPE`.
        listed: further files and folders, from a list.
        output: a folder, a file, or `PIPE`; ``None``: beside each input.
        one_only: why there may be only one input; ``None`` if there may be more.
    """

    inputs: Sequence[str]
    listed: Sequence[str] = ()
    output: str | None = None
    one_only: str | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Jobs that are ready to run.

    Attributes:
        summary: of the results that `count` was given.
        aliases: what to call some paths in results.
    """

    jobs: Sequence[Job]
    upscaler: Upscaler
    config: UpscaleConfig
    summary: Summary
    aliases: Mapping[str, str] = field(default_factory=dict)

    def run(self, watcher: Watcher | None = None, stopped: threading.Event | None = None) -> Iterator[Result]:
        """Upscale the pictures; see `pipeline.run`."""
        return run(self.jobs, self.upscaler, self.config, watcher, stopped)

    def count(self, result: Result) -> Result:
        """Add a result to the summary; returns it with aliases in place of paths."""
        error, alias = result.error, self.aliases
        for path, name in alias.items():
            error = error and error.replace(path, name)
        input_, output = (alias.get(path, path) for path in (result.input, result.output))
        result = replace(result, input=input_, output=output, error=error)
        self.summary.add(result)
        return result

    def dry_run(self) -> Iterator[Result]:
        """Predict the results; nothing is written."""
        return dry_run(self.jobs, self.upscaler, self.config)


def plan_batch(request: BatchRequest, config: UpscaleConfig, load: Callable[[], Upscaler]) -> Batch:
    """Find the pictures of a batch and name their results.

    Args:
        load: loads the network, once the inputs are known to exist.

    Raises:
        ImageError: there is no picture.
        UsageError, OutputError: results cannot be named, or exist already; see `resolve_existing`.
    """
    folder = None if request.output is None else Path(request.output)
    inputs = _find(request, config)
    upscaler = load()

    def size_of(source: Source) -> tuple[int, int] | None:
        size = size_or_none(source.path)
        try:
            target = size and target_size(config, *size, network_scale=upscaler.scale)
            return even_size(target) if target and is_video(source.path) else target
        except ValueError:
            return None  # reported when it is the picture's turn

    single = folder is not None and _is_file_name(folder)
    naming = Naming(
        config,
        model=AUTO if upscaler.is_auto else upscaler.name,
        network_scale=upscaler.scale,
        output=folder,
        single=single,
    )
    named, left_out = name_outputs(inputs.sources, naming, size_of)
    index, count = config.shard or (1, 1)
    share = named[index - 1 :: count]  # neighbors in a folder are often alike in size, so the shares are too
    jobs = resolve_existing(share, config.if_exists)
    summary = Summary(total=len(jobs), problems=inputs.problems if index == 1 else ())
    summary.notes.extend(inputs.notes)
    unused = {SUFFIXES[job.output.suffix.lower()] for job in jobs if job.output.suffix.lower() in SUFFIXES}
    if config.quality is not None and unused and all(FORMATS[each].quality is None for each in unused):
        summary.notes.append(f"--quality has no effect on {', '.join(sorted(unused))}")
    if left_out:
        summary.notes.append(f"{left_out} results of an earlier run were not used as inputs")
    if count > 1:
        summary.notes.append(f"shard {index}/{count}: {len(jobs)} of {pictures(len(named))}")
    if any(job.skip for job in jobs):
        summary.notes.append("skipped pictures already have a result; use --overwrite to redo them")
    return Batch(jobs=jobs, upscaler=upscaler, config=config, summary=summary)


@contextmanager
def plan_pipe(
    request: BatchRequest, config: UpscaleConfig, load: Callable[[], Upscaler], *, stdin: BinaryIO, stdout: int
) -> Iterator[Batch]:
    """A batch of one picture that comes from ``stdin``, or whose result goes to ``stdout`` when the block ends.

    Args:
        stdout: a file descriptor: a closed pipe must leave nothing in a buffer that Python flushes at its exit.

    Raises:
        OutputError: ``stdout`` was closed.
        Others: see `plan_batch`.
    """
    with tempfile.TemporaryDirectory(prefix="sr-") as temporary:
        source = Source(path=Path(temporary) / "stdin", named=True)
        aliases = {str(source.path): "stdin"}
        if PIPE in request.inputs:
            with source.path.open("wb") as file:
                shutil.copyfileobj(stdin, file, _COPY_BYTES)
        else:
            (source,) = _find(request, config).sources
        upscaler = load()
        if request.output == PIPE:
            job = Job(source=source.path, output=Path(temporary) / f"stdout{_suffix(source.path, config)}")
            aliases[str(job.output)] = PIPE
        else:
            (job,) = resolve_existing([(source, Path(str(request.output)))], config.if_exists)
        batch = Batch(jobs=[job], upscaler=upscaler, config=config, summary=Summary(total=1), aliases=aliases)
        yield batch
        if request.output == PIPE and batch.summary.done:
            try:
                with job.output.open("rb") as file, open(stdout, "wb", closefd=False) as pipe:
                    shutil.copyfileobj(file, pipe, _COPY_BYTES)
            except OSError as error:
                reason = error.strerror or error
                raise OutputError(f"stdout was closed before the picture was written ({reason})") from error


def _find(request: BatchRequest, config: UpscaleConfig) -> Inputs:
    output = None if request.output in (None, PIPE) else Path(str(request.output))
    found = find_inputs(request.inputs, listed=request.listed, recursive=config.recursive, output=output)
    if config.empty_ok:
        found = replace(found, problems=[each for each in found.problems if not isinstance(each, NoImagesError)])
    one_only = f"-o {output} is a file," if output is not None and _is_file_name(output) else request.one_only
    if one_only and len(found.sources) > 1:
        raise UsageError(f"{one_only} for one picture; there are {len(found.sources)}")
    return found


def _is_file_name(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() in (*SUFFIXES, *CONTAINERS)


def _suffix(source: Path, config: UpscaleConfig) -> str:
    """The suffix of a result for a pipe: that of ``--format``, else of the input's format."""
    format = detect_format(source)
    return FORMATS[config.format or (format if config.animate else still_format(format))].suffixes[0]
