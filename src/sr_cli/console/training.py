"""A training on the console: a live panel on a terminal, elsewhere a plain line now and then."""

import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from sr_cli import console
from sr_cli.config import TrainConfig
from sr_cli.evaluation.measures import MEASURES
from sr_cli.networks.registry import is_registered
from sr_cli.system.quantities import UNAVAILABLE

if TYPE_CHECKING:
    import torch

    from sr_cli.data import Photos
    from sr_cli.training.state import TrainStep

_INTERVAL = 15.0  # seconds between two plain lines
_SLOW_LOADING = 0.2  # share of the time waiting for photos that is worth a hint


class TrainingProgress:
    """Shows the steps of a training, if this is the process that does; ``last`` is the last of them."""

    def __init__(self, config: TrainConfig, *, shown: bool = True) -> None:
        self._config, self._shown = config, shown
        self._live: Live | None = None
        self._started = time.monotonic()
        self._printed = -_INTERVAL
        self._first_fraction = 0.0
        self._seconds = self._loading = self._teaching = 0.0
        self.last: TrainStep | None = None

    def show(self, step: "TrainStep") -> None:
        """Draw a step or, off a terminal, print it if it is time."""
        if self.last is None:
            self._started, self._first_fraction = time.monotonic(), step.fraction
            self._seconds, self._loading, self._teaching = step.seconds, step.loading, step.teaching
        # Moving averages: figures that change with every step cannot be read.
        self._seconds = 0.9 * self._seconds + 0.1 * step.seconds
        self._loading = 0.9 * self._loading + 0.1 * step.loading
        self._teaching = 0.9 * self._teaching + 0.1 * step.teaching
        self.last = step
        if not self._shown:
            return
        for remark in step.remarks:
            console.warning(remark)
        if step.validation is not None:
            values = ", ".join(MEASURES[name].labeled(value) for name, value in step.validation.items())
            console.note(f"step {step.step}: validation {values}{' (best)' if step.best else ''}")
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._panel(step, now))
        elif now - self._printed >= _INTERVAL or step.fraction >= 1:
            self._printed = now
            console.note(" · ".join(text for _, text in self._rows(step, now)))

    @contextmanager
    def live(self, photos: "Photos", *, run: Path, device: "torch.device") -> Iterator[None]:
        """Say what is trained, then draw on the terminal, if there is one, while the block runs."""
        with ExitStack() as stack:
            if self._shown:
                for path, reason in photos.skipped:
                    console.warning(f"{path}: skipped, {reason}")
                about = self._config
                console.note(f"{about.arch} x{about.scale} on {len(photos)} photos, {device}, into {run}")
                if console.err.is_terminal:
                    self._live = stack.enter_context(Live(console=console.err, refresh_per_second=4))
            yield

    def show_end(self, run: Path, *, why: str, g_per_kwh: float | None) -> None:
        """Print why the training ended, what it reached and consumed, where its report is, and the next command."""
        from sr_cli.training.runs import TrainingRun

        last = self.last
        console.note(f"{run}: {why}{'; continue it with a higher limit' if last is None else ''}")
        if last is None or last.energy is None:
            return
        found = TrainingRun.read(run)
        lines = [row for row in found.facts() if row[0] in ("best", "last", "bicubic")]
        lines += last.energy.rows(epochs=last.epoch, g_per_kwh=g_per_kwh)
        lines += [
            ("report", str(run / "report.html")),
            ("to use it", f"sr upscale PHOTO --model {shlex.quote(str(run))}{arch_option(self._config.arch)}"),
        ]
        for label, value in lines:
            if UNAVAILABLE not in value or label in ("energy", "CO2e"):
                console.note(f"{label + ':':16} {value}")

    def _rows(self, step: "TrainStep", now: float) -> list[tuple[str, str]]:
        terms = ", ".join(f"{name} {value:.5g}" for name, value in step.losses.items())
        speed = f"{self._config.batch_size / self._seconds:.3g} images/s"
        waiting = self._loading / self._seconds
        if waiting > _SLOW_LOADING:
            speed += f", {waiting:.0%} of the time waiting for photos (use more --workers or --cache)"
        if self._config.teacher is not None:
            speed += f", {self._teaching / self._seconds:.0%} of the time for the teacher"
        rows = [
            ("training", f"step {step.step}, epoch {step.epoch:.2f}, {speed}, {self._time_left(step, now)}"),
            ("loss", f"{terms}, lr {step.lr:.2e}"),
        ]
        if step.reading is not None:
            rows.append(("device", step.reading.summary()))
        return rows

    def _time_left(self, step: "TrainStep", now: float) -> str:
        """Extrapolated from the progress since the training was started or resumed."""
        advance = step.fraction - self._first_fraction
        if step.fraction >= 1:
            return "done"
        if advance <= 0:
            return "? left"
        return f"{timedelta(seconds=round((now - self._started) * (1 - step.fraction) / advance))} left"

    def _panel(self, step: "TrainStep", now: float) -> Group:
        table = Table.grid(padding=(0, 1))
        for label, text in self._rows(step, now):
            table.add_row(f"[dim]{label}[/]", escape(text))
        if step.best_yet is not None:
            value = MEASURES[self._config.best].labeled(step.best_yet[0])
            table.add_row("[dim]best[/]", f"{value} at step {step.best_yet[1]}")
        bar = Table.grid(padding=(0, 1))
        elapsed = timedelta(seconds=round(now - self._started))
        bar.add_row(ProgressBar(total=1.0, completed=step.fraction, width=40), f"{step.fraction:.0%}", str(elapsed))
        return Group(bar, table)


def arch_option(arch: str) -> str:
    """What the next command needs, too, if the network isn't registered."""
    return "" if is_registered(arch) else f" --arch {arch}"
