"""Upscaling on the console: progress, results, summary, dry run."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sr_cli import console
from sr_cli.errors import EXIT_SOME_FAILED
from sr_cli.system.quantities import pictures

if TYPE_CHECKING:
    from PIL import Image

    from sr_cli.images import Picture
    from sr_cli.upscaling.batch.pipeline import OnStrip
    from sr_cli.upscaling.batch.plan_outputs import Job
    from sr_cli.upscaling.batch.results import Result, Summary
    from sr_cli.upscaling.crop_compare import CropCompare
    from sr_cli.upscaling.upscaler import Upscaler

_INTERVAL = 10.0  # seconds between two plain lines
_COMPARE_SIDE, _PREVIEW_SIDE = 96, 48  # of the crop, in pixels of the input


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What to print (``as_json``: an object a line in place of paths), and which crops to show."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    preview: bool = False
    compare: Path | None = None


class UpscalingProgress:
    """Shows the progress and the results of a batch; a `sr_cli.upscaling.batch.pipeline.Watcher`."""

    def __init__(self, total: int | None, shown: OutputOptions, bar: Progress | None) -> None:
        self._total, self._shown, self._bar = total, shown, bar
        self._finished = 0
        self._name = ""
        self._printed = time.monotonic()
        self._crops: dict[str, CropCompare] = {}
        self._first: tuple[float, int] | None = None  # when the first frame of the video was done, and its number
        self._alone = total == 1 and not (shown.quiet or shown.as_json or shown.verbose)
        self._batch = bar.add_task("pictures", total=total) if bar and total != 1 else None
        self._tiles = bar.add_task("", total=None, visible=False) if bar else None

    def on_picture(self, job: "Job", picture: "Picture", size: tuple[int, int]) -> "OnStrip | None":
        """A picture enters the network; returns what collects its crop, if one is wanted."""
        self._name, self._first = job.source.name, None
        if not self._shown.preview and self._shown.compare is None:
            return None
        from sr_cli.upscaling.crop_compare import CropCompare

        crop = CropCompare(picture, size, _COMPARE_SIDE if self._shown.compare else _PREVIEW_SIDE)
        self._crops[str(job.output) if self._total != 1 else ""] = crop
        return crop.add

    def on_tile(self, done: int, count: int) -> None:
        """A tile of the picture is done."""
        if self._bar is not None and self._tiles is not None:
            name = console.one_line(self._name)
            short = name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"
            self._bar.update(self._tiles, description=short, completed=done, total=count, visible=count > 1)
        elif count > 1:
            of = f"/{self._total}" if self._total else ""
            which = f"{self._finished + 1}{of} " if self._total != 1 else ""
            self._note_at_intervals(f"{which}{self._name}: tile {done} of {count}")

    def on_frame(self, done: int, count: int, before: int) -> None:
        """A frame of the video is done."""
        began, first = self._first = self._first or (time.monotonic(), done)
        if done == first and before:
            console.note(f"{self._name}: goes on after frame {before}")
        rate = (done - first) / max(time.monotonic() - began, 1e-6)
        pace = f", {rate:.2f} fps" if rate else ""
        if self._bar is not None and self._tiles is not None:
            name = console.one_line(self._name)
            self._bar.update(self._tiles, description=f"{name}{pace}", completed=done, total=count, visible=True)
        else:
            left = f", {clock((count - done) / rate)} left" if rate and count > done else ""
            self._note_at_intervals(f"{self._name}: frame {done} of {count}{pace}{left}")

    def show(self, result: "Result") -> None:
        """A picture is written, skipped or failed: its path on stdout, unless that is where it went."""
        self._finished += 1
        if self._batch is not None and self._bar is not None:
            self._bar.update(self._batch, completed=self._finished)
        elif self._bar is None and self._total != 1:
            of = f"{self._finished} of " if self._total else ""
            self._note_at_intervals(f"{of}{pictures(self._total or self._finished)}")
        crop = self._crops.pop(result.output if self._total != 1 else "", None)  # of a pipe the name differs
        if self._shown.as_json:
            _print(json.dumps(asdict(result)))
        else:
            self._print_result(result)
        about = f"{result.input} → {result.output}: {_details(result)}"
        console.log(about if result.status != "failed" else f"error: {result.error or result.input}")
        if result.status == "done" and crop is not None:
            self._show_crop(crop)

    def _print_result(self, result: "Result") -> None:
        if result.status == "done" and not self._shown.quiet and result.output != "-":
            _print(console.one_line(result.output))
        for warning in result.warnings if not self._shown.quiet else ():
            console.warning(f"{result.input}: {warning}")
        if self._shown.verbose and not (result.status == "failed" and self._total == 1):  # which the summary says
            console.note(f"{result.input}: {_details(result)}")
        if self._alone and result.status == "done" and result.output != "-":
            console.note(outcome(result))

    def _show_crop(self, crop: "CropCompare") -> None:
        from sr_cli.system.atomic_files import atomic_write

        image = crop.image()
        if self._shown.preview:
            _preview(image)
        if self._shown.compare:
            with atomic_write(self._shown.compare) as file:
                image.save(file, "PNG")

    def _note_at_intervals(self, line: str) -> None:
        if time.monotonic() - self._printed > _INTERVAL:
            self._printed = time.monotonic()
            console.note(line)


@contextmanager
def upscaling_progress(total: int | None, shown: OutputOptions) -> Iterator[UpscalingProgress]:
    """Bars on a terminal, elsewhere a plain line now and then, nothing with ``--quiet``."""
    if not shown.quiet and not console.err.is_terminal:
        yield UpscalingProgress(total, shown, None)
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console.err,
        transient=True,
        disable=shown.quiet,
        redirect_stdout=sys.stdout.isatty(),  # results go above the bars, but into a file or pipe if there is one
    ) as bar:
        yield UpscalingProgress(total, shown, bar)


def _preview(image: "Image.Image") -> None:
    """Show an image on stderr by kitty's protocol or sixels if the terminal knows them, else by half blocks."""
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)  # it logs terminals that don't answer its queries
    try:
        from textual_image import renderable

        # To learn what the terminal can do, the library writes to stdout and reads stdin.
        shown = renderable.Image if sys.stdout.isatty() else renderable.HalfcellImage
        console.err.print(shown(image, width="auto", height="auto"))
    except Exception as error:  # the quirks of a terminal must not end the batch
        console.warning(f"--preview: the image cannot be shown ({type(error).__name__}: {error})")


def summarize(summary: "Summary", shown: OutputOptions) -> None:
    """The outcome of the batch in one line, then its notes and failures, one per line."""
    if shown.as_json:
        _print(json.dumps(summary.as_json()))
    counts = [
        f"{count} {what}"
        for what, count in (("done", summary.done), ("skipped", summary.skipped), ("failed", summary.failed))
        if count or what == "done"
    ]
    if shown.quiet or summary.total > 1 or summary.skipped or summary.interrupted:
        pace = f" in {clock(summary.seconds)}, {summary.megapixels / summary.seconds:.2f} MP/s" if summary.done else ""
        interrupted = "interrupted: " if summary.interrupted else ""
        left = summary.total - summary.done - summary.skipped - len(summary.failures)
        not_done = f", {left} not done" if left and summary.interrupted else ""
        (console.log if shown.quiet else console.note)(f"{interrupted}{', '.join(counts)}{not_done}{pace}")
    if summary.chosen and summary.total > 1 and not shown.quiet and not shown.as_json:
        models = ", ".join(f"{name} for {count}" for name, count in summary.chosen.most_common())
        console.note(f"models chosen by what the pictures look like: {models}; --model or --for overrides this")
    for note in summary.notes:
        (console.log if shown.quiet else console.note)(note)
    for problem in summary.problems:
        console.error(str(problem))
    for failure in summary.failures:
        console.error(failure.error or failure.input, logged=True)


def show_dry_run(results: Iterable["Result"], upscaler: "Upscaler", shown: OutputOptions) -> int:
    """A line per picture on stdout, the total on stderr; returns the exit code."""
    counts: Counter[str] = Counter()
    pixels, seconds = 0, 0.0
    failures: list[str] = []
    for result in results:
        counts[result.status] += 1
        if result.status == "planned" and result.output_size:
            pixels += result.output_size[0] * result.output_size[1] * result.frames
            seconds += result.seconds or 0
        if result.status == "failed":
            failures.append(result.error or result.input)
        if shown.as_json:
            _print(json.dumps(asdict(result)))
        elif result.status != "failed":
            what = _sizes(result) if result.status == "planned" else _why_not(result)
            _print(console.one_line(f"{result.input} → {result.output}: {what}"))
    if not shown.as_json:
        console.note(
            f"{counts['planned']} of {pictures(sum(counts.values()))}, {pixels / 1e6:.1f} MP of output, "
            f"about {clock(seconds)} on {upscaler.device}; nothing was written"
        )
    for failure in failures:
        console.error(failure)
    return EXIT_SOME_FAILED if counts["failed"] else 0


def outcome(result: "Result") -> str:
    """Sizes, model and time of a picture that is done."""
    return f"{_sizes(result)}, {_model(result)}, {clock(result.seconds or 0)}"


def clock(seconds: float) -> str:
    """A readable duration: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _details(result: "Result") -> str:
    if result.status != "done" or result.seconds is None:
        return _why_not(result)
    tile = "×".join(map(str, result.tile)) if result.tile else "none"
    return (
        f"{_sizes(result)}, {_model(result)} on {result.device} in {result.dtype}, tiles {tile}, "
        f"{result.seconds:.2f} s, {result.megapixels_per_second or 0:.2f} MP/s"
    )


def _model(result: "Result") -> str:
    return f"{result.model} ({result.reason})" if result.reason else str(result.model)


def _why_not(result: "Result") -> str:
    return (result.error or "already exists, skipped").removeprefix(f"{result.input}: ")


def _sizes(result: "Result") -> str:
    return " → ".join(f"{size[0]}×{size[1]}" for size in (result.input_size, result.output_size) if size)


def _print(line: str) -> None:
    """A line on stdout; not through Rich, which would write over the bars."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
