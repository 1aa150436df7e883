"""What a training leaves in its run's folder while it goes on. Only one process of a group writes."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from sr_cli.config import TrainConfig
from sr_cli.data import Pair, Photos
from sr_cli.errors import TrainingError
from sr_cli.networks.checkpoint import save_network
from sr_cli.system.atomic_files import write_atomically
from sr_cli.system.telemetry import EnergyReport, Reading
from sr_cli.training import provenance
from sr_cli.training import run_folder as runs
from sr_cli.training.progress import Progress
from sr_cli.training.report import write_report
from sr_cli.training.run_folder import Run
from sr_cli.training.trainer import Learner
from sr_cli.training.validation import sample

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SAVING_SHARE = 0.02
"""The part of the time that saving at the end of epochs may take: of many short epochs not every one is saved."""


class Recorder:
    """Writes into the folder of a run.

    Args:
        run: the folder, open.
        config: the settings.
        about: what the header of the weights says besides the settings.
        tensorboard: write curves and samples for TensorBoard too.
    """

    def __init__(self, run: Run, config: TrainConfig, *, about: Mapping[str, Any], tensorboard: bool) -> None:
        self.run, self.config, self.about = run, config, about
        self._saved = time.monotonic()
        self._saving = 0.0
        self._board = _summary_writer(run, since=run.last_step) if tensorboard else None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()
        self.run.close()

    def should_save(self, *, epoch_ended: bool) -> bool:
        """Whether it is time to save the state: after so many minutes, and at the end of an epoch."""
        since = time.monotonic() - self._saved
        return since > 60 * self.config.save_minutes or (epoch_ended and since * SAVING_SHARE > self._saving)

    def save(self, learner: Learner, progress: Progress, energy: EnergyReport) -> None:
        """Write the state, the weights and the energy; each whole or not at all.

        Raises:
            OutputError: the disk is full; what was there before is as it was.
        """
        began = time.monotonic()
        progress.energy = asdict(energy)
        self.run.save_state({"step": progress.step, "progress": asdict(progress), "learner": learner.state()},
                            keep=self.config.keep)  # fmt: skip
        self._save_weights("model.safetensors", learner, progress)
        self.run.write_energy(progress.energy)
        self._saved = time.monotonic()
        self._saving = self._saved - began

    def save_best(self, learner: Learner, progress: Progress) -> None:
        """Write the weights that validated best."""
        self._save_weights("best.safetensors", learner, progress, validation_psnr=progress.best)

    def _save_weights(self, name: str, learner: Learner, progress: Progress, **judgement: float) -> None:
        done = {"steps_done": progress.step, "seconds": round(progress.elapsed)}
        about = {"training": asdict(self.config) | done, **judgement, **self.about}
        save_network(self.run.path / name, learner.result, about=about)

    def write_metrics(self, progress: Progress, *, epoch: float, lr: float, reading: Reading) -> None:
        """Write a row of ``metrics.csv``: means since the row before. Figures that a device doesn't tell are empty."""
        since = dict(progress.since)
        steps, seconds, loading = since.pop("steps"), since.pop("seconds"), since.pop("loading")
        losses = {name: value / steps for name, value in since.items()}
        speed = steps * self.config.batch_size / seconds
        self.run.write_row(runs.METRICS, {
            "step": progress.step, "epoch": f"{epoch:.4f}", "seconds": f"{progress.elapsed:.1f}",
            **{name: f"{value:.8g}" for name, value in losses.items()}, "lr": f"{lr:.6g}",
            "images_per_second": f"{speed:.4g}", "loading": f"{loading / seconds:.3f}", **_status(reading),
        })  # fmt: skip
        progress.since.clear()
        self._chart({f"loss/{name}": value for name, value in losses.items()}, progress.step)
        self._chart({"lr": lr, "images_per_second": speed}, progress.step)

    def write_validation(
        self, learner: Learner, progress: Progress, *, psnr: float, ssim: float, crops: Sequence[Pair]
    ) -> None:
        """Write a row of ``validation.csv``, the samples, and the report."""
        row = {"step": progress.step, "psnr": f"{psnr:.4f}", "ssim": "" if math.isnan(ssim) else f"{ssim:.5f}"}
        self.run.write_row(runs.VALIDATION, row)
        self._chart({"validation/psnr": psnr, "validation/ssim": ssim}, progress.step)
        if self.config.samples:
            png = sample(learner.result, crops[: self.config.samples], learner.device)
            path = self.run.path / runs.SAMPLES / f"step-{progress.step:08}.png"
            write_atomically(path, png)
            self._show(path, progress.step)
        self.write_report()

    def write_report(self) -> None:
        """Write ``report.html``."""
        write_report(self.run.path)

    def _chart(self, values: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def _show(self, path: Path, step: int) -> None:
        if self._board is not None:
            import numpy as np
            from PIL import Image

            with Image.open(path) as picture:
                self._board.add_image("samples", np.asarray(picture), step, dataformats="HWC")


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
    """Begin the folder of a run, or go on with it.

    Args:
        resumed_at: the step to go on from; what the folder has of later ones is dropped. ``None``: a new run.

    Raises:
        TrainingError: the run exists, or doesn't, or was made from other photos.
        OutputError: the folder cannot be written.
    """
    made = {"time": provenance.now(), "versions": provenance.versions(), "git": provenance.revision()}
    if resumed_at is None:
        return Run.create(path, {
            "name": path.name, "settings": asdict(config), **made, "device": str(device), "processes": processes,
            **about,
                **notes, "data": {**provenance.description(photos, validation), **about.get("data", {})},
            "resumed": [],
        })  # fmt: skip
    before = runs.read_config(path)
    if before["data"]["fingerprint"] != photos.fingerprint:
        raise TrainingError(
            f"{photos.folder}: these are not the {before['data']['photos']} photos that the run began with; "
            f"start a new run from its weights: --init {path / 'model.safetensors'}"
        )
    changed = {k: v for k, v in asdict(config).items() if v != before["settings"].get(k)}
    resumption = {"step": resumed_at, "command": (about.get("resumed_by") or [None])[-1], "changed": changed, **made}
    resumed = [*before.get("resumed", []), resumption]
    noted = {key: value for key, value in notes.items() if value is not None}
    run = Run.reopen(path, before | noted | {"settings": asdict(config), "resumed": resumed})
    run.last_step = resumed_at
    run.forget_after(resumed_at)
    return run


def _status(reading: Reading) -> dict[str, str]:
    mib = None if reading.memory_used is None else reading.memory_used / 2**20
    return {
        "device_utilization": "" if reading.utilization is None else f"{reading.utilization:.3f}",
        "device_memory_mib": "" if mib is None else f"{mib:.0f}",
        "device_watts": "" if reading.power is None else f"{reading.power:.2f}",
        "device_celsius": "" if reading.temperature is None else f"{reading.temperature:.0f}",
    }


def _summary_writer(run: Run, *, since: int | None) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter

    # What was written after the step that the run goes on from is not shown any more.
    return SummaryWriter(run.path / "tensorboard", purge_step=since and since + 1)
