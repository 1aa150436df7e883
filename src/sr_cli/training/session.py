"""A training while it goes on: what happens in a step, and what is due after it."""

import math
import os
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_cli.config import TrainConfig
from sr_cli.data import Batch, Batches, Loader, Pair, Photos, TrainingPairs, validation_pairs
from sr_cli.errors import ImageError, TrainingError
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.system.distributed import Group
from sr_cli.system.telemetry import EnergyMeter, EnergyReport
from sr_cli.training import run_folder as runs
from sr_cli.training.energy import in_parallel
from sr_cli.training.progress import Progress
from sr_cli.training.recorder import Recorder, open_run
from sr_cli.training.schedule import ends_epoch, fraction_done, learning_rate
from sr_cli.training.steps import Stop, TrainStep
from sr_cli.training.trainer import Learner, NotFinite
from sr_cli.training.validation import held_out, validate

_KEPT = (1 << 30) - 1  # bytes: the next step needs the same memory again, and nothing else is made meanwhile

MOST_ROLLBACKS = 5
"""How often a training may go back before it stops after all."""


class Session:
    """A training while it goes on."""

    def __init__(
        self,
        config: TrainConfig,
        photos: Photos,
        device: torch.device,
        *,
        run: Path,
        resume: bool,
        stop: Stop,
        group: Group,
        stack: ExitStack,
    ) -> None:
        self.config, self.photos, self.device, self.path = config, photos, device, run
        self.wish, self.group, self.stack = stop, group, stack
        self.state = group.broadcast(runs.read_state(run) if group.writes else None) if resume else None
        self.progress = Progress(**self.state["progress"]) if self.state else Progress()
        self.training_photos, self.kept_photos = photos.split(held_out(config, len(photos)), seed=config.seed)
        self.training_photos.cache_bytes //= group.local_size
        self.stopped = False
        self.loader: Loader | None = None
        self._known_damage: set[Path] = set()
        self._remarks: list[str] = []

    def begin(
        self,
        *,
        vgg_state: Mapping[str, Tensor] | None,
        init: Path | None,
        about: Mapping[str, Any],
        notes: Mapping[str, Any],
        tensorboard: bool,
    ) -> None:
        """Load what there is, open the folder, build the network."""
        config, group = self.config, self.group
        if config.batch_size % group.size:
            raise TrainingError(f"{group.size} processes cannot share batches of {config.batch_size} evenly")
        if len(set(group.gather(self.photos.fingerprint))) > 1:
            raise TrainingError(f"{self.photos.folder}: the processes of this training see different photos")
        prepare(config)
        self.crops = self._validation_crops()
        # The meter reads the idle device: it comes before the network.
        self.meter = self.stack.enter_context(EnergyMeter(self.device, earlier=self.progress.energy_report))
        self.learner = Learner(config, self.device, vgg_state=vgg_state, init=None if self.state else init, group=group)
        if self.state:
            self.learner.restore(self.state["learner"])
        self.recorder = None
        if group.writes:
            run = open_run(
                self.path,
                config,
                self.photos,
                self.kept_photos,
                device=self.device,
                processes=group.size,
                about=about,
                notes=notes,
                resumed_at=self.progress.step if self.state else None,
            )
            self.recorder = self.stack.enter_context(Recorder(run, config, about=about, tensorboard=tensorboard))
        if not self.state:
            self._save()
        self.state = None
        self._load_from(self.progress.step)
        self._started = time.perf_counter() - self.progress.elapsed

    @property
    def fraction(self) -> float:
        """How much of the training is done; 1 or more at its end."""
        photos = len(self.training_photos)
        return fraction_done(self.config, self.progress.step, elapsed=self.progress.elapsed, photos=photos)

    @property
    def is_over(self) -> bool:
        impatient = self.config.patience is not None and self.progress.stale >= self.config.patience
        return self.stopped or impatient or self.fraction >= 1

    @property
    def hint(self) -> str:
        """How to go on after an error."""
        return f"go on from the last state by --resume {self.path}"

    def step(self) -> TrainStep:
        """Take a step, and whatever is due after it.

        Raises:
            TrainingError, ImageError, OutputError: see `train`.
        """
        config, progress = self.config, self.progress
        began = time.perf_counter()
        batch = self._next_batch()
        loading = time.perf_counter() - began
        rate = learning_rate(config, progress.step, self.fraction) * progress.lr_factor
        try:
            losses = self._agree(self.learner.learn(batch))
            self.learner.update(rate)
        except NotFinite as trouble:
            self._meet(trouble, batch)
            return self.step()
        progress.step += 1
        seconds = time.perf_counter() - began
        progress.add({"steps": 1, "seconds": seconds, "loading": loading, **losses})
        over = self.is_over
        validation, best = self._validate() if self._should_validate(over=over) else (None, False)
        self._write(rate, over=self.is_over)
        remarks, self._remarks = tuple(self._remarks), []
        return TrainStep(
            step=progress.step,
            fraction=min(1.0, self.fraction),
            epoch=self._epoch,
            losses=losses,
            lr=rate,
            seconds=seconds,
            loading=loading,
            validation=validation,
            best=best,
            remarks=remarks,
            reading=self.meter.latest,
            energy=self._energy_of_all() if self.is_over else None,
        )

    @property
    def _epoch(self) -> float:
        return self.progress.step * self.config.batch_size / len(self.training_photos)

    def _next_batch(self) -> Batch:
        try:
            batch = next(self.loader)  # type: ignore[arg-type]
        except (ImageError, TrainingError) as error:
            self._save()
            raise type(error)(f"{error}; {self.hint}") from error
        for path, reason in batch.damaged:
            if path not in self._known_damage:
                self._known_damage.add(path)
                self._remarks.append(f"{path}: skipped, {reason}")
        return batch

    def _agree(self, losses: dict[str, float]) -> dict[str, float]:
        """The mean losses of all processes; and they agree on the time and on whether to stop.

        Raises:
            NotFinite: a loss is not finite.
        """
        clock = time.perf_counter() - self._started
        mine = [self.group.size * clock if self.group.writes else 0.0, float(self.wish.wanted)]
        *means, elapsed, wish = self.group.mean([*losses.values(), *mine])
        for name, value in zip(losses, means, strict=True):
            if not math.isfinite(value):
                raise NotFinite(f"the {name} loss is {value}")
        self.progress.elapsed, self.stopped = elapsed, wish > 0
        return dict(zip(losses, means, strict=True))

    def _meet(self, trouble: NotFinite, batch: Batch) -> None:
        """Stop at a loss that is not finite, or go back to the last state with half the learning rate."""
        files = ", ".join(str(path) for paths in self.group.gather(batch.paths) for path in paths)
        what = f"{trouble} at step {self.progress.step + 1}; the batch came from {files}"
        if self.config.on_nan == "stop":
            raise TrainingError(f"{what}; {self.hint}, with a lower --lr or with --on-nan rollback")
        if self.progress.rollbacks == MOST_ROLLBACKS:
            raise TrainingError(f"{what}; gave up after going back {MOST_ROLLBACKS} times; {self.hint}, lower --lr")
        factor, rollbacks = self.progress.lr_factor / 2, self.progress.rollbacks + 1
        state = self.group.broadcast(self._state_to_go_back_to())
        self.learner.restore(state["learner"])
        self.progress = Progress(**state["progress"])
        self.progress.lr_factor, self.progress.rollbacks = factor, rollbacks
        self.progress.went_back_to = self.progress.step
        if self.recorder:
            self.recorder.run.forget_after(self.progress.step)
        self._save()
        self._load_from(self.progress.step)
        self._remarks.append(f"{what}; went back to step {self.progress.step}, learning rate × {factor:g} from there")

    def _state_to_go_back_to(self) -> dict[str, Any] | None:
        """The last state; the one before it where the last has led here once already. Only the writer reads it."""
        if self.recorder is None:
            return None
        if self.recorder.run.last_step == self.progress.went_back_to:
            self.recorder.run.drop_last_state()
        return runs.read_state(self.path)

    def _should_validate(self, *, over: bool) -> bool:
        return bool(self.crops) and not self.stopped and (over or self.progress.step % self.config.validate_every == 0)

    def _validate(self) -> tuple[float, bool]:
        """Judge the weights; PSNR in dB, and whether it is the best so far."""
        psnr, ssim = validate(self.learner.result, self.crops, device=self.device, group=self.group)
        best = psnr > self.progress.best
        self.progress.best, self.progress.stale = (psnr, 0) if best else (self.progress.best, self.progress.stale + 1)
        if self.recorder:
            if best:
                self.recorder.save_best(self.learner, self.progress)
            self.recorder.write_validation(self.learner, self.progress, psnr=psnr, ssim=ssim, crops=self.crops)
        return psnr, best

    def _write(self, rate: float, *, over: bool) -> None:
        """Write the row and the state that are due."""
        if self.recorder is None:
            return
        if over or self.progress.step % self.config.log_every == 0:
            self.recorder.write_metrics(self.progress, epoch=self._epoch, lr=rate, reading=self.meter.latest)
        epoch_ended = ends_epoch(self.config, self.progress.step, photos=len(self.training_photos))
        if over or self.recorder.should_save(epoch_ended=epoch_ended):
            self._save()
        if over:
            self.recorder.write_report()

    def _save(self) -> None:
        if self.recorder:
            self.recorder.save(self.learner, self.progress, self.meter.report())

    def _energy_of_all(self) -> EnergyReport:
        """What all processes have consumed; processes that share a device count once."""
        mine = (socket.gethostname(), str(self.device), self.meter.report())
        reports = {(host, device): report for host, device, report in self.group.gather(mine)}
        total = in_parallel(list(reports.values()))
        if self.recorder:
            self.recorder.run.write_energy(asdict(total))
        return total

    def _load_from(self, step: int) -> None:
        pairs = TrainingPairs(
            self.training_photos,
            scale=self.config.scale,
            crop_size=self.config.crop_size,
            degradation=self.config.degradation,
            min_downscale=self.config.min_downscale,
            seed=self.config.seed,
        )
        batches = Batches(pairs, batch_size=self.config.batch_size, part=self.group.rank, parts=self.group.size)
        workers = _workers(self.device, self.group) if self.config.workers is None else self.config.workers
        if self.loader is not None:
            self.loader.close()
        self.loader = self.stack.enter_context(
            closing(Loader(batches, first=step, workers=workers, pin=self.device.type == "cuda"))
        )

    def _validation_crops(self) -> list[Pair]:
        config = self.config
        crops = list(validation_pairs(self.kept_photos, scale=config.scale, degradation=config.degradation))
        damaged = set(self.kept_photos.paths) - {crop.path for crop in crops}
        self._remarks += [f"{path}: not validated on, it cannot be decoded" for path in sorted(damaged)]
        return crops


def prepare(config: TrainConfig) -> None:
    """Settings that hold for the whole process."""
    keep_freed_memory(_KEPT)
    torch.backends.cudnn.benchmark = not config.deterministic
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def _workers(device: torch.device, group: Group) -> int:
    """Processes that load photos: one for each CPU beside a GPU, none where they would take from the network."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cpus // group.local_size) if device.type == "cuda" else 0
