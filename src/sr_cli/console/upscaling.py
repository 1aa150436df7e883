"""Upscaling on the console: progress of the batch and of large pictures, what came of it, and what is planned."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sr_cli import console

if TYPE_CHECKING:
    from sr_cli.upscaling.batch.dry_run import Forecast
    from sr_cli.upscaling.batch.results import Result, Summary

_INTERVAL = 10.0  # seconds between two plain lines


class UpscalingProgress:
    """How far a batch has come."""

    def __init__(self, total: int, bar: Progress | None) -> None:
        self._total, self._bar = total, bar
        self._done = 0
        self._name = ""
        self._told = time.monotonic()
        self._batch: TaskID | None = bar.add_task("pictures", total=total) if bar and total > 1 else None
        self._tiles: TaskID | None = bar.add_task("", total=None, visible=False) if bar else None

    def picture(self, path: Path) -> None:
        """A picture goes into the network."""
        self._name = path.name

    def tile(self, done: int, count: int) -> None:
        """A tile of it came out."""
        if self._bar is not None and self._tiles is not None:
            name = console.one_line(self._name)
            short = name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"
            self._bar.update(self._tiles, description=short, completed=done, total=count, visible=count > 1)
        elif count > 1 and time.monotonic() - self._told > _INTERVAL:
            self._told = time.monotonic()
            which = f"{self._done + 1}/{self._total} " if self._total > 1 else ""
            console.note(f"{which}{self._name}: tile {done} of {count}")

    def finished(self) -> None:
        """A picture is written, skipped or given up."""
        self._done += 1
        if self._bar is not None:
            if self._batch is not None:
                self._bar.update(self._batch, completed=self._done)
        elif self._total > 1 and time.monotonic() - self._told > _INTERVAL:
            self._told = time.monotonic()
            console.note(f"{self._done} of {self._total} pictures")


@contextmanager
def upscaling_progress(total: int, *, quiet: bool) -> Iterator[UpscalingProgress]:
    """Bars on a terminal, elsewhere a plain line now and then, and nothing if ``quiet``."""
    if quiet:
        yield UpscalingProgress(0, _silent())
    elif console.err.is_terminal:
        with _bars() as bar:
            yield UpscalingProgress(total, bar)
    else:
        yield UpscalingProgress(total, None)


def tell(result: "Result", *, quiet: bool, verbose: bool) -> None:
    """A result, when it is there: its path on stdout (unless that is where it went), all else on stderr."""
    if result.status == "done" and not quiet and result.output != "-":
        _print(console.one_line(result.output))
    for warning in result.warnings if not quiet else ():
        console.warning(f"{result.input}: {warning}")
    if verbose:
        console.note(f"{result.input}: {_told(result)}")


def tell_json(what: dict[str, Any]) -> None:
    """One JSON object as a line on stdout."""
    _print(json.dumps(what))


def summarize(summary: "Summary", *, quiet: bool) -> None:
    """What became of the batch: a line, and then its failures, one a line."""
    counts = [
        f"{count} {what}"
        for what, count in (("done", summary.done), ("skipped", summary.skipped), ("failed", summary.failed))
        if count or what == "done"
    ]
    if not quiet and (summary.total > 1 or summary.skipped or summary.interrupted or summary.notes):
        pace = f" in {clock(summary.seconds)}, {summary.megapixels / summary.seconds:.2f} MP/s" if summary.done else ""
        stopped = "interrupted: " if summary.interrupted else ""
        left = summary.total - summary.done - summary.skipped - len(summary.failures)
        unbegun = f", {left} not done" if left and summary.interrupted else ""
        console.note(f"{stopped}{', '.join(counts)}{unbegun}{pace}")
    for note in summary.notes if not quiet else ():
        console.note(note)
    for problem in summary.problems:
        console.error(str(problem))
    for failure in summary.failures:
        console.error(failure.error or failure.input)


def tell_forecast(forecasts: Sequence["Forecast"], *, device: str) -> None:
    """What would be done: a line a picture on stdout, and the sum on stderr."""
    for each in forecasts:
        if each.status == "planned" and each.input_size and each.output_size and each.memory:
            sizes = " → ".join(f"{width}×{height}" for width, height in (each.input_size, each.output_size))
            costs = f"{clock(each.seconds or 0)}, {each.memory / 1e6:.0f} MB"
            line = f"{each.input} → {each.output}: {sizes}, {costs}"
        else:
            line = f"{each.input} → {each.output}: {each.error or 'is there already, skipped'}"
        console.out.print(console.one_line(line), markup=False)
    planned = [each for each in forecasts if each.status == "planned"]
    pixels = sum(each.output_size[0] * each.output_size[1] for each in planned if each.output_size)
    memory = max((each.memory or 0 for each in planned), default=0)
    console.note(
        f"{len(planned)} of {len(forecasts)} pictures to do, {pixels / 1e6:.1f} MP of output: about "
        f"{clock(sum(each.seconds or 0 for each in planned))} on {device}, and {memory / 1e6:.0f} MB beyond the "
        "program's own; nothing was written"
    )


def clock(seconds: float) -> str:
    """A time for people: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _told(result: "Result") -> str:
    if result.status != "done" or not result.input_size or not result.output_size or result.seconds is None:
        return result.error or "is there already, skipped"
    sizes = " → ".join(f"{width}×{height}" for width, height in (result.input_size, result.output_size))
    tile = "×".join(map(str, result.tile)) if result.tile else "none"
    return (
        f"{sizes}, {result.model} on {result.device} in {result.dtype}, tiles {tile}, "
        f"{result.seconds:.2f} s, {result.megapixels_per_second or 0:.2f} MP/s"
    )


def _print(line: str) -> None:
    """A line on stdout; not by way of Rich, which would write over the bars."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console.err,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # results go above the bars, but into a file or pipe if there is one
    )


def _silent() -> Progress:
    return Progress(console=console.err, disable=True)
