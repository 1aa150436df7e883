"""A training on the console: bars that move on a terminal, elsewhere a plain line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from sr_cli import console
from sr_cli.config import TrainConfig
from sr_cli.telemetry import EnergyMeter, Reading

if TYPE_CHECKING:
    import torch

    from sr_cli.training import TrainStep

_INTERVAL = 15.0  # seconds between two plain lines


class TrainingProgress:
    """Where the steps of a training are shown."""

    def __init__(self, config: TrainConfig, bar: Progress | None, meter: EnergyMeter) -> None:
        self._config, self._bar, self._meter = config, bar, meter
        self._task = bar.add_task("", total=1.0, status="") if bar else None
        self._began = self._told = time.monotonic()
        self._first: float | None = None
        self._rate = 0.0

    def show(self, step: "TrainStep") -> None:
        """Draw a step, or, off a terminal, tell of it if it's time."""
        rate = self._config.batch_size / step.seconds
        self._rate = 0.9 * self._rate + 0.1 * rate if self._rate else rate
        now = time.monotonic()
        if step.validation is not None:
            console.note(f"step {step.step}: validation {step.validation:.3f} dB{' (best)' if step.best else ''}")
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step.fraction, status=self._status(step, now))
        elif now - self._told > _INTERVAL or step.fraction >= 1:
            self._told = now
            console.note(self._status(step, now))

    def _status(self, step: "TrainStep", now: float) -> str:
        if self._first is None:
            self._first = step.fraction - 1e-9
        left = (now - self._began) * (1 - step.fraction) / max(1e-9, step.fraction - self._first)
        losses = " ".join(f"{name} {value:.5f}" for name, value in step.losses.items())
        parts = [
            f"step {step.step}", f"epoch {step.epoch:.2f}", losses, f"lr {step.lr:.2e}", f"{self._rate:.1f} images/s",
            f"{_clock(left)} left", _device(self._meter.latest),
        ]  # fmt: skip
        return " · ".join(part for part in parts if part)


@contextmanager
def training_progress(
    config: TrainConfig, *, photos: int, run: Path, device: "torch.device"
) -> Iterator[TrainingProgress]:
    """A place to show a training's steps, and its device's status beside them."""
    console.note(f"{config.arch} x{config.scale} on {photos} photos, {device}, into {run}")
    with EnergyMeter(device) as meter:
        if not console.err.is_terminal:
            yield TrainingProgress(config, None, meter)
            return
        with Progress(
            BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(), _Status(), console=console.err
        ) as bar:
            yield TrainingProgress(config, bar, meter)


class _Status(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task) -> Text:  # type: ignore[no-untyped-def]
        return Text(task.fields["status"])


def _device(reading: Reading) -> str:
    parts = [
        f"{reading.utilisation:.0%}" if reading.utilisation is not None else "",
        f"{reading.memory_used / 2**20:.0f} MiB" if reading.memory_used is not None else "",
        f"{reading.power:.0f} W" if reading.power is not None else "",
        f"{reading.temperature:.0f} °C" if reading.temperature is not None else "",
    ]
    return " ".join([reading.name, *filter(None, parts)])


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
