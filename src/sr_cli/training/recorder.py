"""What a training writes into its run's folder. Only one process of a group writes."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sr_cli.config import TrainConfig
from sr_cli.data import Pair, Photos
from sr_cli.errors import TrainingError
from sr_cli.networks.checkpoint import save_network
from sr_cli.system.atomic_files import atomic_write
from sr_cli.system.telemetry import EnergyMeter, EnergyReport, Reading
from sr_cli.training.provenance import provenance
from sr_cli.training.report import write_report
from sr_cli.training.run_folder import METRICS, SAMPLES, VALIDATION, WEIGHTS, Run, read_config
from sr_cli.training.state import Progress
from sr_cli.training.trainer import Trainer
from sr_cli.training.validation import draw_samples

SAVING_SHARE = 0.02
"""The share of the time that saving at the ends of epochs may take; not every short epoch is saved."""


class Recorder:
    """Writes into the folder of a run. The header of the weights says ``about``, too. Close it at the end."""

    def __init__(
        self, run: Run, config: TrainConfig, meter: EnergyMeter, *, about: Mapping[str, Any], tensorboard: bool
    ) -> None:
        self.run, self.config, self.meter, self.about = run, config, meter, about
        self._saved = time.monotonic()
        self._saving = 0.0
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            # Hides what was written after the step that the run was resumed from.
            step = run.last_step and run.last_step + 1
            self._board = SummaryWriter(run.path / "tensorboard", purge_step=step)

    def close(self) -> None:
        """Close the folder and TensorBoard's files."""
        if self._board is not None:
            self._board.close()
        self.run.close()

    def should_save(self, *, epoch_ended: bool) -> bool:
        """Whether to save the state now: every ``save_minutes``, and at the end of an epoch."""
        since = time.monotonic() - self._saved
        return since > 60 * self.config.save_minutes or (epoch_ended and since * SAVING_SHARE > self._saving)

    def save(self, trainer: Trainer, progress: Progress) -> None:
        """Write the state, the weights and the energy, each file atomically; an `OutputError` if the disk is full."""
        began = time.monotonic()
        progress.energy = asdict(self.meter.report())
        state = {"step": progress.step, "progress": asdict(progress), "trainer": trainer.state()}
        self.run.save_state(state, keep=self.config.keep)
        self._save_weights(WEIGHTS, trainer, progress)
        self.run.write_energy(progress.energy)
        self._saved = time.monotonic()
        self._saving = self._saved - began

    def _save_weights(self, name: str, trainer: Trainer, progress: Progress, **judgment: float) -> None:
        done = {"steps_done": progress.step, "seconds": round(progress.elapsed)}
        about = {"training": asdict(self.config) | done, **judgment, **self.about}
        save_network(self.run.path / name, trainer.result, about=about)

    def write_metrics(self, progress: Progress, *, epoch: float, lr: float) -> None:
        """Write a row of ``metrics.csv``: means since the last row. What the device doesn't report stays empty."""
        sums = progress.sums
        progress.sums = {}
        steps, seconds, loading = sums.pop("steps"), sums.pop("seconds"), sums.pop("loading")
        losses = {name: value / steps for name, value in sums.items()}
        speed = steps * self.config.batch_size / seconds
        row = {"step": progress.step, "epoch": f"{epoch:.4f}", "seconds": f"{progress.elapsed:.1f}"}
        row |= {name: f"{value:.8g}" for name, value in losses.items()}
        row |= {"lr": f"{lr:.6g}", "images_per_second": f"{speed:.4g}", "loading": f"{loading / seconds:.3f}"}
        self.run.write_row(METRICS, row | _device_columns(self.meter.latest))
        self._chart({f"loss/{name}": value for name, value in losses.items()}, progress.step)
        self._chart({"lr": lr, "images_per_second": speed}, progress.step)

    def write_validation(
        self, trainer: Trainer, progress: Progress, *, values: Mapping[str, float], best: bool, crops: Sequence[Pair]
    ) -> None:
        """Write a row of ``validation.csv``, the samples, the report and, if they are the best, the weights."""
        if best:
            judgment = {f"validation_{name}": value for name, value in values.items() if not math.isnan(value)}
            self._save_weights("best.safetensors", trainer, progress, **judgment)
        texts = {name: "" if math.isnan(value) else f"{value:.9g}" for name, value in values.items()}
        self.run.write_row(VALIDATION, {"step": progress.step, **texts})
        self._chart({f"validation/{name}": value for name, value in values.items()}, progress.step)
        if self.config.samples:
            sheet = draw_samples(trainer.result, crops[: self.config.samples], trainer.device)
            path = self.run.path / SAMPLES / f"step-{progress.step:08}.png"
            with atomic_write(path) as file:
                Image.fromarray(sheet).save(file, "PNG")
            if self._board is not None:
                self._board.add_image("samples", sheet, progress.step, dataformats="HWC")
        write_report(self.run.path)

    def finish(self, energy: EnergyReport | None, progress: Progress, limits: Mapping[str, bool]) -> None:
        """Write the energy of all processes, how the training ended, and the report.

        Args:
            energy: ``None`` if a resumed run had no step to do.
            limits: whether each limit is reached; if none is, the training was stopped.
        """
        if energy is not None:
            self.run.write_energy(asdict(energy))
        reached = [name for name, is_reached in limits.items() if is_reached]
        self.run.note({"ended": {"step": progress.step, "seconds": round(progress.elapsed, 1), "by": reached}})
        write_report(self.run.path)

    def _chart(self, values: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


def open_run(
    path: Path,
    config: TrainConfig,
    photos: Photos,
    validation: Photos,
    *,
    device: torch.device,
    processes: int,
    about: Mapping[str, Any],
    notes: Mapping[str, Any],
    resumed_at: int | None,
) -> Run:
    """Create the folder of a run, or reopen it.

    Args:
        resumed_at: the step to continue from; records of later steps are dropped. ``None``: a new run.

    Raises:
        TrainingError: the run exists, or doesn't, or began with other photos, loss weights or teacher.
        OutputError: the folder cannot be written.
    """
    made = provenance()
    if resumed_at is None:
        begun = {"name": path.name, "settings": asdict(config), **made, "device": str(device), "processes": processes}
        data = {
            "folder": str(photos.folder.absolute()),
            **({"lr_folders": [str(folder.absolute()) for folder in photos.lr_folders]} if photos.lr else {}),
            "photos": len(photos),
            "skipped": len(photos.skipped),
            "fingerprint": photos.fingerprint,
            "validation": [str(path) for path in validation.paths],
            **about.get("data", {}),
        }
        return Run.create(path, {**begun, **about, **notes, "data": data, "resumed": []})
    before = read_config(path)
    if before["data"]["fingerprint"] != photos.fingerprint:
        raise TrainingError(
            f"{photos.folder}: not the {before['data']['photos']} photos that the run began with; "
            f"start a new run from its weights: --init {path / 'model.safetensors'}"
        )
    for name in ("loss_weights", "teacher"):
        digest = notes.get(f"{name}_sha256")
        if digest and digest != before.get(f"{name}_sha256", digest):
            what = f"the {name.replace('_weights', ' network')} that the run began with"
            raise TrainingError(f"{notes[name]}: not {what}; name that one with --{name.replace('_', '-')}")
    settings = json.loads(json.dumps(asdict(config)))  # as the file has them: tuples became lists
    changed = {k: v for k, v in settings.items() if v != before["settings"].get(k)}
    resumption = {"step": resumed_at, "command": (about.get("resumed_by") or [None])[-1], "changed": changed, **made}
    resumed = [*before.get("resumed", []), resumption]
    noted = {key: value for key, value in notes.items() if value is not None}
    before.pop("ended", None)
    run = Run.reopen(path, before | noted | {"settings": asdict(config), "resumed": resumed})
    run.last_step = resumed_at
    run.forget_after(resumed_at)
    return run


def _device_columns(reading: Reading) -> dict[str, str]:
    mib = None if reading.memory_used is None else reading.memory_used / 2**20
    return {
        "device_utilization": "" if reading.utilization is None else f"{reading.utilization:.3f}",
        "device_memory_mib": "" if mib is None else f"{mib:.0f}",
        "device_watts": "" if reading.power is None else f"{reading.power:.2f}",
        "device_celsius": "" if reading.temperature is None else f"{reading.temperature:.0f}",
    }
