"""``sr upscale``: images in, larger images out."""

import functools
import glob
import os
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_cli import __version__, console, signals
from sr_cli.cli.options import option, options, yes_option
from sr_cli.config import AUTO, BATCH, OUTPUT, PIPE, PROCESSING, UpscaleConfig
from sr_cli.console import upscaling as view
from sr_cli.console.weights import obtain_model
from sr_cli.errors import DiskError, ImageError, NoImagesError, UsageError, as_usage_error, reading
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.video import is_video
from sr_cli.weights.registry import without_password

if TYPE_CHECKING:
    from sr_cli.upscaling.batch.run import Batch
    from sr_cli.upscaling.upscaler import Upscaler


_PATIENCE = 30  # seconds for a batch to end in good order after the first signal
_MOST_DISK_FAILURES = 3  # in a row; before that a smaller result might have fit


@options(UpscaleConfig)
def upscale(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE|FOLDER|PATTERN…",
            help="Pictures, videos, folders of pictures, quoted patterns, https:// and s3:// addresses; - for stdin.",
        ),
    ] = None,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="Folder or file; - for stdout.", show_default="beside the input"
        ),
    ] = None,
    given: dict[str, Any],
    from_file: Annotated[
        str | None, option("Inputs, one per line or null-separated; - for stdin.", BATCH, "--from-file", metavar="FILE")
    ] = None,
    overwrite: Annotated[bool, option("Replace results that exist.", OUTPUT, "--overwrite")] = False,
    skip_existing: Annotated[bool, option("Keep results that exist.", OUTPUT, "--skip-existing")] = False,
    dry_run: Annotated[bool, option("List what would be written, and the time needed.", BATCH, "--dry-run")] = False,
    as_json: Annotated[bool, option("Print a JSON object per picture, and a summary.", OUTPUT, "--json")] = False,
    quiet: Annotated[bool, option("Print only errors.", OUTPUT, "--quiet", "-q")] = False,
    verbose: Annotated[bool, option("Print details of each picture.", OUTPUT, "--verbose", "-v")] = False,
    yes: Annotated[bool, yes_option(PROCESSING)] = False,
    log_file: Annotated[
        Path | None, option("Append what happens to this file, with times.", OUTPUT, "--log-file", metavar="FILE")
    ] = None,
    preview: Annotated[bool, option("Show a crop before and after in the terminal.", OUTPUT, "--preview")] = False,
    compare: Annotated[
        Path | None,
        option("Write a crop of input, bicubic and result side by side.", OUTPUT, "--compare", metavar="FILE"),
    ] = None,
) -> None:
    """Upscale pictures and videos.

    Inputs are never changed, and results are written atomically.
    """
    inputs = inputs or []
    if log_file:
        console.log_to(log_file)
        console.log(f"sr {__version__}: {shlex.join(map(without_password, sys.argv[1:]))}")
    _check_pipes(inputs, from_file, output, as_json=as_json, dry_run=dry_run)
    _check_output(inputs, output)
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other")
    if overwrite + skip_existing + ("if_exists" in given) > 1:
        raise UsageError("--overwrite, --skip-existing and --if-exists exclude each other")
    if overwrite or skip_existing:
        given["if_exists"] = "overwrite" if overwrite else "skip"
    if preview and not console.shows_color():
        console.note("--preview needs a color terminal; --compare FILE writes an image instead")

    from sr_cli.system import distributed
    from sr_cli.upscaling.batch.results import Summary
    from sr_cli.upscaling.batch.run import BatchRequest, plan_batch, plan_pipe

    shown = view.OutputOptions(
        as_json=as_json, quiet=quiet, verbose=verbose, preview=preview and console.shows_color(), compare=compare
    )
    with as_usage_error():
        config = UpscaleConfig(**{"shard": distributed.process_share(), **given})
    if config.cluster and (preview or compare or PIPE in (output, *inputs)):
        raise UsageError("--cluster is for files, without --preview and --compare")
    request = BatchRequest(
        inputs=inputs,
        listed=_read_list(from_file) if from_file else (),
        output=output,
        one_only="--compare is" if compare else "-o - is" if output == PIPE else None,
    )

    load = functools.partial(_load, config, quiet=quiet, yes=yes)
    with ExitStack() as stack:
        if PIPE in (output, *inputs):
            pipe = plan_pipe(request, config, load, stdin=sys.stdin.buffer, stdout=sys.stdout.fileno())
            batch = stack.enter_context(pipe)
        else:
            try:
                batch = plan_batch(request, config, load)
            except NoImagesError as error:
                if not config.empty_ok:
                    raise
                view.summarize(Summary(total=0, notes=[str(error)]), shown)
                return
        code = view.show_dry_run(batch.dry_run(), batch.upscaler, shown) if dry_run else _run(batch, shown)
    if not batch.summary.interrupted:
        distributed.wait_for_all()
    if code:
        raise typer.Exit(code)


def _run(batch: "Batch", shown: view.OutputOptions) -> int:
    """Upscale, report, and return the exit code."""
    from sr_cli.upscaling.batch.interruption import Interruption

    began, interruption, disk_failures = time.perf_counter(), Interruption(), 0
    try:
        with (
            signals.on_signals(lambda _: interruption.want(), signals.end, patience=_PATIENCE),
            view.upscaling_progress(batch.total, shown) as progress,
        ):
            for result in batch.run(progress, interruption):
                progress.show(batch.count(result))
                disk_failures = disk_failures + 1 if result.disk_failed else 0
                if disk_failures == _MOST_DISK_FAILURES and batch.total != disk_failures:
                    batch.summary.problems.append(
                        DiskError("the disk is full or read-only: stopped; the same command goes on")
                    )
                    break
    except KeyboardInterrupt:
        batch.summary.interrupted = True
    batch.summary.seconds = time.perf_counter() - began
    view.summarize(batch.summary, shown)
    return batch.summary.exit_code


def _load(config: UpscaleConfig, *, quiet: bool, yes: bool) -> "Upscaler":
    """The network that was asked for, downloaded if necessary."""
    import torch

    from sr_cli.system import distributed
    from sr_cli.upscaling.batch.target_size import default_model
    from sr_cli.upscaling.upscaler import Upscaler

    keep_freed_memory()
    named = None if config.model == AUTO else config.model
    model = named or default_model(config)
    upscaler = Upscaler(
        model if model == AUTO else obtain_model(model, yes=yes),
        config,
        device="cpu" if config.cluster else distributed.spread_over_gpus(config.device),
        on_step_down=lambda message: None if quiet else console.warning(message),
    )
    difference = upscaler.network.bfloat16_difference
    if difference is not None and upscaler.runner.dtype == torch.bfloat16 and not quiet:
        console.note(
            f"{upscaler.name} runs in bfloat16, for speed: at most {difference:.0f} of 255 from float32 on "
            "a test picture; --dtype float32 is exact"
        )
    return upscaler


def _check_pipes(inputs: list[str], from_file: str | None, output: str | None, *, as_json: bool, dry_run: bool) -> None:
    if not inputs and from_file is None:
        raise UsageError("nothing to upscale: give images or folders, - for stdin, or --from-file")
    if PIPE in inputs and output is None:
        raise UsageError("- needs -o FILE, or -o - for stdout")
    if PIPE in inputs and (len(inputs) > 1 or from_file is not None):
        raise UsageError("- reads one picture from stdin and cannot be combined with other inputs")
    if output == PIPE and (len(inputs) != 1 or from_file is not None):
        raise UsageError("-o - is for one picture")
    if output == PIPE and (as_json or sys.stdout.isatty()):
        raise UsageError("-o - writes the picture to stdout: redirect it to a file or a pipe, and leave out --json")
    if output == PIPE and is_video(Path(inputs[0])):
        raise UsageError("-o - is for a picture; a video needs -o FILE")
    if dry_run and PIPE in (output, *inputs):
        raise UsageError("--dry-run is for files, not for pipes")


def _check_output(inputs: list[str], output: str | None) -> None:
    """Refuse what other programs would take for the output, before anything is done."""
    if output is None and len(inputs) > 1 and not glob.has_magic(inputs[-1]) and "://" not in inputs[-1]:
        last = Path(inputs[-1])
        is_new = not os.path.lexists(last) and (len(inputs) == 2 or not last.suffix)
        if is_new or (last.is_dir() and not any(last.iterdir())):
            what = "is empty" if last.is_dir() else "doesn't exist"
            raise UsageError(f"{last}: {what}; if the results belong there, write -o {shlex.quote(inputs[-1])}")
    if output is None or output.endswith(os.sep) or "://" in output or Path(output).is_dir():
        return
    suffix = Path(output).suffix.lower()
    if output != PIPE and len(suffix) < 2 and Path(output).exists():
        raise UsageError(f"-o {output}: is there and not a folder; -o - writes to stdout")
    if len(suffix) < 2:
        return
    from PIL import Image

    from sr_cli.images import FORMATS, SUFFIXES
    from sr_cli.video import CONTAINERS

    means_file = len(inputs) == 1 and Path(inputs[0]).is_file() and len(suffix) <= 5 and suffix[1:].isalpha()
    if suffix not in (*SUFFIXES, *CONTAINERS) and (means_file or suffix in Image.registered_extensions()):
        known = " ".join(each.suffixes[0] for each in FORMATS.values())
        raise UsageError(f"-o {output}: unknown format; choose from {known}, or write {output}/ for a folder")


def _read_list(file: str) -> list[str]:
    from sr_cli.upscaling.batch.find_inputs import read_list

    with reading(file, ImageError):
        return read_list(sys.stdin.buffer.read() if file == PIPE else Path(file).read_bytes())
