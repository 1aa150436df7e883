"""A training on the console: a live panel on a terminal, elsewhere a plain line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from sr_cli.console.quantities import energy_rows, reading_line

if TYPE_CHECKING:
    import torch

    from sr_cli.system.telemetry import EnergyReport
    from sr_cli.training import TrainStep

_INTERVAL = 15.0  # seconds between two plain lines
_SLOW_LOADER = 0.2  # a larger part of the time spent waiting for data is worth a word


class TrainingProgress:
    """Where the steps of a training are shown.

    Attributes:
        last: the last step; ``None`` before the first.
    """

    def __init__(self, config: TrainConfig, live: Live | None, *, shown: bool) -> None:
        self._config, self._live, self._shown = config, live, shown
        self._began = time.monotonic()
        self._told = -_INTERVAL
        self._first: float | None = None
        self._seconds = self._loading = 0.0
        self._best: tuple[float, int] | None = None
        self.last: TrainStep | None = None

    @property
    def epochs(self) -> float | None:
        """Epochs done, in all parts of the run."""
        return self.last.epoch if self.last else None

    @property
    def complete(self) -> bool:
        """Whether the training has come to its own end."""
        return self.last is None or self.last.fraction >= 1

    def show(self, step: "TrainStep") -> None:
        """Draw a step, or, off a terminal, tell of it if it's time."""
        if self._first is None:
            self._first = step.fraction
            self._began = time.monotonic()
        # Moving averages, so that a figure can be read before it changes.
        fresh = self.last is None
        self._seconds = step.seconds if fresh else 0.9 * self._seconds + 0.1 * step.seconds
        self._loading = step.loading if fresh else 0.9 * self._loading + 0.1 * step.loading
        self.last = step
        if not self._shown:
            return
        for remark in step.remarks:
            console.warning(remark)
        if step.validation is not None:
            if step.best:
                self._best = step.validation, step.step
            console.note(f"step {step.step}: validation {step.validation:.3f} dB{' (best)' if step.best else ''}")
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._panel(step, now))
        elif now - self._told >= _INTERVAL or step.fraction >= 1:
            self._told = now
            console.note(" · ".join(text for _, text in self._rows(step, now)))

    def _rows(self, step: "TrainStep", now: float) -> list[tuple[str, str]]:
        """What there is to say, in few words."""
        terms = ", ".join(f"{name} {value:.5g}" for name, value in step.losses.items())
        speed = f"{self._config.batch_size / self._seconds:.3g} images/s"
        waiting = self._loading / self._seconds
        if waiting > _SLOW_LOADER:
            speed += f", {waiting:.0%} of the time waiting for photos (more --workers or --cache)"
        rows = [
            ("training", f"step {step.step}, epoch {step.epoch:.2f}, {speed}, {self._left(step, now)}"),
            ("loss", f"{terms}, lr {step.lr:.2e}"),
        ]
        if step.reading is not None:
            rows.append(("device", reading_line(step.reading)))
        return rows

    def _left(self, step: "TrainStep", now: float) -> str:
        """The time that is left, judged by how far this part of the run has come."""
        advance = step.fraction - (self._first or 0.0)
        if step.fraction >= 1:
            return "done"
        if advance <= 0:
            return "? left"
        return f"{timedelta(seconds=round((now - self._began) * (1 - step.fraction) / advance))} left"

    def _panel(self, step: "TrainStep", now: float) -> Group:
        table = Table.grid(padding=(0, 1))
        for label, text in self._rows(step, now):
            table.add_row(f"[dim]{label}[/]", escape(text))
        if self._best is not None:
            table.add_row("[dim]best[/]", f"{self._best[0]:.3f} dB at step {self._best[1]}")
        bar = Table.grid(padding=(0, 1))
        elapsed = timedelta(seconds=round(now - self._began))
        bar.add_row(ProgressBar(total=1.0, completed=step.fraction, width=40), f"{step.fraction:.0%}", str(elapsed))
        return Group(bar, table)


@contextmanager
def training_progress(
    config: TrainConfig, *, photos: int, run: Path, device: "torch.device", shown: bool = True
) -> Iterator[TrainingProgress]:
    """A place to show a training's steps, and its device's status beside them.

    Args:
        shown: whether this process is the one that shows.
    """
    if shown:
        console.note(f"{config.arch} x{config.scale} on {photos} photos, {device}, into {run}")
    if not shown or not console.err.is_terminal:
        yield TrainingProgress(config, None, shown=shown)
        return
    with Live(console=console.err, refresh_per_second=4) as live:
        yield TrainingProgress(config, live, shown=True)


def show_energy(report: "EnergyReport", *, epochs: float | None, g_per_kwh: float | None) -> None:
    """Tell what a run has consumed, on stderr."""
    for label, value in energy_rows(report, epochs=epochs, g_per_kwh=g_per_kwh):
        console.note(f"{label + ':':16} {value}")
