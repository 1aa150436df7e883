"""What ``sr upscale`` does once its options are read: load the weights, find the pictures, run, tell."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sr_cli import console, weights
from sr_cli.cli.upscale_closeups import watcher_of
from sr_cli.config import DEFAULT_MODEL, PERCEPTUAL_MODEL, ColorMatch, Exist
from sr_cli.console import upscaling as view
from sr_cli.console.weights import obtain
from sr_cli.errors import EXIT_SOME_FAILED, ImageError, OutputError, UsageError
from sr_cli.system.cpu_tuning import keep_freed_memory

if TYPE_CHECKING:
    from sr_cli.upscaling.batch.find_inputs import Source
    from sr_cli.upscaling.batch.plan_outputs import Job, Naming
    from sr_cli.upscaling.batch.results import Result, Summary
    from sr_cli.upscaling.batch.settings import Settings
    from sr_cli.upscaling.batch.shards import Shard
    from sr_cli.upscaling.upscaler import Upscaler

PIPE = "-"

_FACTOR_NAMES, _SIZE_NAMES = "{stem}_{scale}x.{ext}", "{stem}_{width}x{height}.{ext}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which pictures, and where to."""

    inputs: list[str]
    from_file: str | None
    recursive: bool
    output: str | None
    name: str | None
    exist: Exist | None
    shard: "Shard"


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which network, and how to run it."""

    model: str | None
    scale: float | None
    device: str
    dtype: str
    tile: int | str | None
    color_match: ColorMatch
    ensemble: bool
    strength: float | None
    quiet: bool


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What to say, and what to show."""

    as_json: bool
    quiet: bool
    verbose: bool
    preview: bool
    compare: Path | None


def run_batch(request: Request, loading: Loading, settings: "Settings", telling: Telling, *, dry_run: bool) -> int:
    """Upscale files; the exit code."""
    from sr_cli.images.header import size_or_none
    from sr_cli.upscaling.batch import find_inputs as inputs
    from sr_cli.upscaling.batch import plan_outputs as outputs
    from sr_cli.upscaling.batch.results import Summary
    from sr_cli.upscaling.batch.shards import wait_for_the_others

    listed = _listed(request.from_file) if request.from_file is not None else []
    folder = None if request.output is None else Path(request.output)
    apart = folder and not any(inputs.place(folder) == inputs.place(Path(each)) for each in request.inputs)
    found = inputs.gather(request.inputs, listed=listed, recursive=request.recursive, without=folder if apart else None)
    single = folder is not None and _is_file_name(folder)
    if (single or telling.compare) and len(found.sources) > 1:
        what = "--compare shows" if telling.compare else f"-o {folder}: is the name of"
        raise UsageError(f"{what} one picture, but there are {len(found.sources)}")
    upscaler = load(loading)

    def size_of(source: "Source") -> tuple[int, int] | None:
        given = size_or_none(source.path)
        try:
            return given and settings.target.of(*given, scale=upscaler.scale)
        except ValueError:
            return None  # told when the picture's turn comes

    naming = _naming(request, settings, upscaler, single=single)
    named, passed_over = outputs.plan(found.sources, naming, size_of)
    jobs = outputs.settle(request.shard.of(named), request.exist)
    if dry_run:
        return _foretell(jobs, upscaler, settings, telling)
    summary = Summary(total=len(jobs), problems=found.problems if request.shard.index == 1 else ())
    if passed_over:
        summary.notes.append(f"{passed_over} results of an earlier run were not taken for inputs")
    if request.shard.count > 1:
        summary.notes.append(f"this was shard {request.shard}: {len(jobs)} of {len(named)} pictures")
    if any(job.skip for job in jobs):
        summary.notes.append("skipped are those whose result is there; --exist overwrite or rename makes it anew")
    _work(jobs, upscaler, settings, telling, summary)
    if not summary.interrupted:
        wait_for_the_others()
    return summary.exit_code


def run_pipe(request: Request, loading: Loading, settings: "Settings", telling: Telling) -> int:
    """Upscale one picture from or to a pipe; the exit code. What goes out is whole, or nothing."""
    from sr_cli.upscaling.batch import find_inputs as inputs
    from sr_cli.upscaling.batch import plan_outputs as outputs
    from sr_cli.upscaling.batch.results import Summary

    with tempfile.TemporaryDirectory(prefix="sr-") as folder:
        source = inputs.Source(path=Path(folder) / "stdin", named=True)
        if request.inputs == [PIPE]:
            with source.path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        else:
            found = inputs.gather(request.inputs)
            if len(found.sources) > 1:
                raise UsageError(f"-o - is for one picture, but there are {len(found.sources)}")
            source = found.sources[0]
        upscaler = load(loading)
        if request.output == PIPE:
            job = outputs.Job(source=source.path, output=Path(folder) / f"stdout{_suffix(source.path, settings)}")
        else:
            naming = _naming(request, settings, upscaler, single=True)
            (job,) = outputs.settle([(source, naming.name(source, None))], request.exist)
        summary = Summary(total=1)
        names = {str(Path(folder) / "stdin"): "stdin"}
        if request.output == PIPE:
            names[str(job.output)] = PIPE
        _work([job], upscaler, settings, telling, summary, names=names)
        if request.output == PIPE and summary.done:
            _send(job.output)
        return summary.exit_code


def load(loading: Loading) -> "Upscaler":
    """The network that was asked for, ready to run.

    Raises:
        UsageError: it doesn't come in that scale.
        WeightsError, DeviceError: it cannot be had, or not there.
    """
    import torch

    from sr_cli.system import device as devices
    from sr_cli.upscaling.batch.shards import torchrun_device, torchrun_shard
    from sr_cli.upscaling.batch.target_size import model_for
    from sr_cli.upscaling.upscaler import Upscaler

    keep_freed_memory()
    model = loading.model or (PERCEPTUAL_MODEL if loading.strength is not None else model_for(loading.scale, _family()))
    device = devices.choose(loading.device)
    if loading.device == "auto" and device.type == "cuda" and torchrun_shard() is not None:
        device = torch.device("cuda", torchrun_device() % torch.cuda.device_count())
    upscaler = Upscaler.from_pretrained(
        _file_of(model), device=device, dtype=loading.dtype, tile=loading.tile, color_match=loading.color_match,
        ensemble=loading.ensemble, strength=1.0 if loading.strength is None else loading.strength,
        on_step_down=lambda told: None if loading.quiet else console.warning(told),
    )  # fmt: skip
    lacks = loading.scale in (2, 3, 4, 8) and loading.scale != upscaler.scale
    if loading.model and lacks and upscaler.network.scales:
        raise UsageError(
            f"{model} upscales by {upscaler.scale}, not by {loading.scale:g}; leave out --model for a network that "
            "does, or ask for --width, --height or --size"
        )
    return upscaler


def _file_of(model: str) -> Path:
    path = Path(model)
    return path if path.suffix or len(path.parts) > 1 else obtain(model, "upscaler")


def _family() -> dict[int, str]:
    """The networks of the default kind that are here, by scale."""
    family = DEFAULT_MODEL.rpartition("-x")[0]
    return {
        entry.scale: name
        for name, entry in weights.entries().items()
        if entry.kind == "upscaler" and entry.scale and name == f"{family}-x{entry.scale}"
        if weights.state(entry) in ("shipped", "cached")
    }


def _work(
    jobs: Sequence["Job"],
    upscaler: "Upscaler",
    settings: "Settings",
    telling: Telling,
    summary: "Summary",
    *,
    names: Mapping[str, str] | None = None,
) -> None:
    """Run a batch and tell of it.

    Args:
        names: what to call some paths.
    """
    from sr_cli.upscaling.batch.pipeline import run

    began = time.perf_counter()
    stop = _StopBySignals()
    try:
        with view.upscaling_progress(len(jobs), quiet=telling.quiet) as progress:
            watcher = watcher_of(progress, preview=telling.preview, compare=telling.compare)
            for result in run(jobs, upscaler, settings, watcher, stop.wanted):
                with stop.later():
                    called = _called(result, names or {})
                    summary.add(called)
                    progress.finished()
                    if telling.as_json:
                        view.tell_json(called.as_json())
                    else:
                        view.tell(called, quiet=telling.quiet, verbose=telling.verbose)
                    if result.status == "done":
                        watcher.show()
    except KeyboardInterrupt:
        summary.interrupted = True
    summary.seconds = time.perf_counter() - began
    if telling.as_json:
        view.tell_json(summary.as_json())
    view.summarize(summary, quiet=telling.quiet)


class _StopBySignals:
    """Lets Ctrl-C, and a scheduler's SIGTERM, raise `KeyboardInterrupt`.

    Attributes:
        wanted: set by the first of them; Python loses an exception that a signal raises within a destructor.
    """

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self._held = False
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)

    @contextmanager
    def later(self) -> Iterator[None]:
        """A place that the first of them doesn't leave."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _receive(self, *_: object) -> None:
        first = not self.wanted.is_set()
        self.wanted.set()
        if not (self._held and first):
            raise KeyboardInterrupt


def _called(result: "Result", names: Mapping[str, str]) -> "Result":
    error = result.error
    for path, name in names.items():
        error = error and error.replace(path, name)
    return replace(
        result, input=names.get(result.input, result.input), output=names.get(result.output, result.output), error=error
    )


def _foretell(jobs: Sequence["Job"], upscaler: "Upscaler", settings: "Settings", telling: Telling) -> int:
    from sr_cli.upscaling.batch.dry_run import forecast

    forecasts = []
    for each in forecast(jobs, upscaler, settings):
        forecasts.append(each)
        if telling.as_json:
            view.tell_json(each.as_json())
    if not telling.as_json:
        view.tell_forecast(forecasts, device=str(upscaler.device))
    return EXIT_SOME_FAILED if any(each.status == "failed" for each in forecasts) else 0


def _naming(request: Request, settings: "Settings", upscaler: "Upscaler", *, single: bool) -> "Naming":
    from sr_cli.upscaling.batch.plan_outputs import Naming

    target = settings.target
    return Naming(
        output=None if request.output is None else Path(request.output),
        single=single,
        template=request.name or (_FACTOR_NAMES if target.is_factor else _SIZE_NAMES),
        format=settings.format,
        scale=target.scale if target.scale is not None else upscaler.scale,
        model=upscaler.name,
        animate=settings.animate,
    )


def _listed(file: str) -> list[str]:
    from sr_cli.upscaling.batch.find_inputs import read_list

    try:
        return read_list(sys.stdin.buffer.read() if file == PIPE else Path(file).read_bytes())
    except OSError as error:
        raise ImageError(f"{file}: cannot be read ({error.strerror or error})") from error


def _is_file_name(path: Path) -> bool:
    from sr_cli.images import SUFFIXES

    return not path.is_dir() and path.suffix.lower() in SUFFIXES


def _suffix(source: Path, settings: "Settings") -> str:
    """The suffix of a result that goes to a pipe: by --format, else of the input's own format."""
    from sr_cli.images import FORMATS
    from sr_cli.images.header import detect_format
    from sr_cli.upscaling.batch.plan_outputs import still_format

    own = detect_format(source)
    return FORMATS[settings.format or (own if settings.animate else still_format(own))].suffixes[0]


def _send(path: Path) -> None:
    """Copy a file to stdout."""
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # or Python complains again at its end
        raise OutputError(f"stdout: nobody takes the picture ({error.strerror or error})") from error
