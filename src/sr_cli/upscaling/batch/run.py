"""A batch from start to end: find the pictures, name the results, upscale; or one picture through a pipe."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from sr_cli.config import AUTO, PIPE, UpscaleConfig
from sr_cli.errors import NoImagesError, OutputError, SrError, UsageError
from sr_cli.images import FORMATS, SUFFIXES
from sr_cli.images.header import detect_format
from sr_cli.system.atomic_files import temporary_folder
from sr_cli.system.quantities import pictures
from sr_cli.upscaling.batch.dry_run import dry_run
from sr_cli.upscaling.batch.find_inputs import Source, find_inputs
from sr_cli.upscaling.batch.find_remote import Existing, find_groups, is_file
from sr_cli.upscaling.batch.interruption import Interruption
from sr_cli.upscaling.batch.manifest import Manifest
from sr_cli.upscaling.batch.pipeline import Watcher, run
from sr_cli.upscaling.batch.plan_outputs import Job, Naming, lexists, name_outputs, resolve_existing, still_format
from sr_cli.upscaling.batch.results import Result, Summary
from sr_cli.upscaling.batch.stores import AnyPath, StorePath, any_path, is_url, size_at
from sr_cli.upscaling.batch.target_size import target_size
from sr_cli.upscaling.upscaler import Upscaler
from sr_cli.video import CONTAINERS, even_size, is_video

_COPY_BYTES = 1 << 20  # at a time


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What goes in and where it goes.

    Attributes:
        inputs: files, folders and patterns, here or in a store; or `PIPE`.
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
        jobs: found one by one if a folder of a store is among the inputs.
        total: their number; ``None`` if it isn't known yet.
        summary: of the results that `count` was given.
        manifest: the record that results are added to.
        aliases: what to call some paths in results.
    """

    jobs: Iterable[Job]
    total: int | None
    upscaler: Upscaler
    config: UpscaleConfig
    summary: Summary
    manifest: Manifest | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)

    def run(self, watcher: Watcher | None = None, interruption: Interruption | None = None) -> Iterator[Result]:
        """Upscale the pictures; see `pipeline.run`."""
        interruption = interruption or Interruption()
        if self.config.cluster:
            from sr_cli.upscaling.batch.cluster import run_on_cluster

            results = interruption.each(run_on_cluster(self.jobs, self.upscaler, self.config))
        else:
            results = run(self.jobs, self.upscaler, self.config, watcher, interruption)
        with self.manifest or nullcontext() as manifest:
            for result in results:
                if manifest is not None:
                    manifest.add(result)
                yield result

    def count(self, result: Result) -> Result:
        """Add a result to the summary; returns it with aliases in place of paths."""
        error, alias = result.error, self.aliases
        for path, name in alias.items():
            error = error and error.replace(path, name)
        input_, output = (alias.get(path, path) for path in (result.input, result.output))
        result = replace(result, input=input_, output=output, error=error)
        self.summary.add(result)
        (width, height), (wide, high) = result.input_size or (1, 1), result.output_size or (1, 1)
        is_distorted = abs(wide * height - width * high) > 0.01 * width * high  # by factors a hundredth apart
        if self.config.size and result.status == "done" and is_distorted:
            note = "--size changes the proportions of pictures; --width or --height keeps them"
            if note not in self.summary.notes:
                self.summary.notes.append(note)
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
        UsageError, OutputError: results cannot be named, or exist already; see `resolve_existing`. If the pictures
            are found one by one, these are among the problems of the summary.
    """
    folder = None if request.output is None else any_path(request.output)
    if isinstance(folder, StorePath) and folder.is_web:
        raise UsageError(f"-o {folder}: nothing can be written there; name a folder, or a store such as s3://bucket")
    summary = Summary(total=0)
    manifest = Manifest(config.manifest) if config.manifest else None
    is_lazy, groups = _find_groups(request, config, folder, summary)
    upscaler = load()

    def size_of(source: Source) -> tuple[int, int] | None:
        try:
            target = target_size(config, *size_at(source.path), network_scale=upscaler.scale)
            return even_size(target) if is_video(PurePath(source.path.name)) else target
        except (SrError, ValueError):
            return None  # reported when it is the picture's turn

    single = folder is not None and _is_file_name(folder)
    naming = Naming(
        config,
        model=AUTO if upscaler.is_auto else upscaler.name,
        network_scale=upscaler.scale,
        output=folder,
        single=single,
    )
    jobs: Iterable[Job] = _plan(groups, naming, size_of, config, summary, is_lazy=is_lazy, manifest=manifest)
    total = None
    if not is_lazy:
        jobs = list(jobs)
        total = len(jobs)
    return Batch(jobs=jobs, total=total, upscaler=upscaler, config=config, summary=summary, manifest=manifest)


def _find_groups(
    request: BatchRequest, config: UpscaleConfig, output: AnyPath | None, summary: Summary
) -> tuple[bool, Iterator[Sequence[Source]]]:
    """Whether the pictures are found one by one, and the pictures: those on this machine, then those elsewhere."""

    def on_error(error: SrError) -> None:
        if not (config.empty_ok and isinstance(error, NoImagesError)):
            summary.problems.append(error)

    urls, listed_urls = ([each for each in names if is_url(each)] for names in (request.inputs, request.listed))
    is_lazy = bool(listed_urls) or any(not is_file(path) for path in map(any_path, urls) if isinstance(path, StorePath))
    search: dict[str, Any] = {
        "recursive": config.recursive,
        "output": output,
        "on_error": on_error,
        "on_note": summary.notes.append,
    }
    inputs: list[Source] = []
    if len(urls) < len(request.inputs) or len(listed_urls) < len(request.listed) or not is_lazy | bool(urls):
        here, listed = ([each for each in names if not is_url(each)] for names in (request.inputs, request.listed))
        inputs = find_inputs(here, listed=listed, **search)
        if len(inputs) > 1:
            _refuse_one_only(request, f"there are {len(inputs)}")
    elsewhere: Iterator[Sequence[Source]] = find_groups(urls, listed_urls, **search)
    if not is_lazy:
        sources = [*inputs, *chain.from_iterable(elsewhere)]
        if len(sources) > 1:
            _refuse_one_only(request, f"there are {len(sources)}")
        return False, iter([sources])
    _refuse_one_only(request, "there may be more")
    first = next(elsewhere, None)  # before the network is loaded
    if first is None and not inputs:
        raise summary.problems[0] if summary.problems else NoImagesError("no images to upscale")
    return True, chain([inputs, first or []], elsewhere)


def _refuse_one_only(request: BatchRequest, but: str) -> None:
    output = request.output
    is_file_name = output not in (None, PIPE) and _is_file_name(any_path(str(output)))
    if one_only := f"-o {output} is a file," if is_file_name else request.one_only:
        raise UsageError(f"{one_only} for one picture; {but}")


def _plan(
    groups: Iterable[Sequence[Source]],
    naming: Naming,
    size_of: Callable[[Source], tuple[int, int] | None],
    config: UpscaleConfig,
    summary: Summary,
    *,
    is_lazy: bool,
    manifest: Manifest | None = None,
) -> Iterator[Job]:
    """Name the results of each group and decide about those that exist; complete the summary."""
    index, count = config.shard or (1, 1)
    if index > 1:
        summary.problems.clear()  # the first share tells of them
    found = left_out = 0
    shown: list[str] = []  # of those that are left out
    skipped, formats, taken = False, set(), set()
    existing = Existing()
    for sources in groups:
        try:
            named, results = name_outputs(sources, naming, size_of)
            share = named[(index - 1 - found) % count :: count]  # neighbors are often alike in size, so are the shares
            found += len(named)
            left_out += len(results)
            shown += map(str, results[: 3 - len(shown)])
            jobs = _resolve(share, config, manifest, existing)
        except SrError as error:
            if not is_lazy:
                raise
            summary.problems.append(error)
            continue
        for job in jobs:
            key = hash(str(job.output))  # the text would take far more memory
            if is_lazy and key in taken:
                summary.problems.append(
                    UsageError(f"{job.output}: is the result of two inputs, or one was given twice")
                )
                continue
            taken.add(key)
            summary.total += 1
            skipped = skipped or job.skip
            formats.add(SUFFIXES.get(job.output.suffix.lower()))
            yield job
    unused = {format for format in formats if format}
    if config.quality is not None and unused and all(FORMATS[each].quality is None for each in unused):
        summary.notes.append(f"--quality has no effect on {', '.join(sorted(unused))}")
    if left_out:
        more = f" and {left_out - len(shown)} more" if left_out > len(shown) else ""
        summary.notes.append(
            f"left out, as {'results' if left_out > 1 else 'a result'} of an earlier run: "
            f"{', '.join(shown)}{more}; to upscale such a file, name it"
        )
    if count > 1:
        summary.notes.append(f"shard {index}/{count}: {summary.total} of {pictures(found)}")
    if skipped:
        summary.notes.append("skipped pictures already have a result; use --overwrite to redo them")


def _resolve(
    named: Sequence[tuple[Source, AnyPath]], config: UpscaleConfig, manifest: Manifest | None, existing: Existing
) -> list[Job]:
    """Decide about results that exist; those that an earlier run has recorded are not looked for."""
    if manifest is None or not manifest.done or config.if_exists == "overwrite":
        return resolve_existing(named, config.if_exists, existing if len(named) > 1 else lexists)
    done = manifest.done

    def exists(path: AnyPath) -> bool:
        return str(path) in done or (isinstance(path, Path) and lexists(path))

    jobs = resolve_existing(named, "skip", exists)
    return [job if job.skip else replace(job, ask=True) for job in jobs]


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
    with temporary_folder() as temporary:
        source = Source(path=temporary / "stdin", named=True)
        aliases = {str(source.path): "stdin"}
        if PIPE in request.inputs:
            with (temporary / "stdin").open("wb") as file:
                shutil.copyfileobj(stdin, file, _COPY_BYTES)
        else:
            ((source,),) = _find_groups(request, config, None, Summary(total=1))[1]
        upscaler = load()
        if request.output == PIPE:
            result = temporary / f"stdout{_suffix(source.path, config)}"
            job = Job(source=source.path, output=result)
            aliases[str(result)] = PIPE
        else:
            (job,) = resolve_existing([(source, any_path(str(request.output)))], config.if_exists)
        batch = Batch(jobs=[job], total=1, upscaler=upscaler, config=config, summary=Summary(total=1), aliases=aliases)
        yield batch
        if request.output == PIPE and batch.summary.done:
            try:
                with result.open("rb") as file, open(stdout, "wb", closefd=False) as pipe:
                    shutil.copyfileobj(file, pipe, _COPY_BYTES)
            except OSError as error:
                reason = error.strerror or error
                raise OutputError(f"stdout: the picture cannot be written ({reason})") from error


def _is_file_name(path: AnyPath) -> bool:
    return not path.is_dir() and path.suffix.lower() in (*SUFFIXES, *CONTAINERS)


def _suffix(source: AnyPath, config: UpscaleConfig) -> str:
    """The suffix of a result for a pipe: that of ``--format``, else of the input's format."""
    format = detect_format(source) if isinstance(source, Path) else SUFFIXES.get(source.suffix.lower(), "PNG")
    return FORMATS[config.format or (format if config.animate else still_format(format))].suffixes[0]
