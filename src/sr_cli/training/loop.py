"""The training loop."""

import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_cli.config import TrainConfig
from sr_cli.data import Batch, Batches, Loader, Photos, TrainingPairs
from sr_cli.errors import ImageError, TrainingError
from sr_cli.evaluation.measures import MEASURES
from sr_cli.networks.registry import is_described_by_file
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.system.distributed import ALONE, Group
from sr_cli.system.memory import cpus
from sr_cli.system.telemetry import EnergyMeter, EnergyReport, in_parallel
from sr_cli.training.recorder import Recorder, open_run
from sr_cli.training.run_folder import WEIGHTS, read_state
from sr_cli.training.schedule import ends_epoch, fraction_done, learning_rate, limits_reached
from sr_cli.training.state import Progress, Stop, TrainStep
from sr_cli.training.teacher import with_absolute_teacher
from sr_cli.training.trainer import NotFinite, Trainer
from sr_cli.training.validation import bicubic_scores, measures_of, validate, validation_count, validation_crops

MAX_ROLLBACKS = 5
"""How often a training may roll back before it stops."""


def train(
    config: TrainConfig,
    photos: Photos,
    device: torch.device,
    *,
    run: Path,
    vgg_state: Mapping[str, Tensor] | None = None,
    init: Path | None = None,
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
    stop: Stop | None = None,
    group: Group = ALONE,
    tensorboard: bool = False,
) -> Iterator[TrainStep]:
    """Train a network and record everything about it in the folder ``run``.

    Args:
        photos: HR photos, of which some are held out for validation.
        vgg_state: weights of the loss network; needed for a loss with features.
        init: weights to start from.
        resume: continue from ``last.pt``, with the same results as without the interruption.
        about: what ``config.json`` and the header of the weights record besides the settings.
        notes: what only ``config.json`` records.
        stop: set its ``wanted`` to let the training finish its step, save and end.
        group: the processes that share the training; all yield the steps, the first one writes.
        tensorboard: also write curves and samples for TensorBoard.

    Yields:
        A `TrainStep` after every step.

    Raises what `sr_cli.train` does.
    """
    config, record = with_absolute_teacher(config)
    stop, about, notes = stop or Stop(), about or {}, {**(notes or {}), **record}
    hint = f"continue from the last state with --resume {run}"

    def fraction() -> float:
        return fraction_done(config, progress, photos=len(to_train_on))

    def impatient() -> bool:
        return config.patience is not None and progress.stale >= config.patience

    with ExitStack() as stack:
        stack.enter_context(group.watch(hint))
        check_group(group, config, photos)
        configure_process(config)
        state = group.broadcast(read_state(run) if group.writes else None) if resume else None
        progress = Progress(**state["progress"]) if state else Progress()
        to_train_on, to_validate_on = photos.split(validation_count(config, len(photos)), seed=config.seed)
        to_train_on.cache_bytes //= group.local_size
        crops, remarks = validation_crops(config, to_validate_on)
        skipped: set[Path] = set()
        # The meter reads the idle device first, so it starts before the network is built.
        meter = stack.enter_context(EnergyMeter(device, earlier=progress.energy_report))
        if resume:
            init = run / WEIGHTS if is_described_by_file(config.arch) else None
        trainer = Trainer(config, device, vgg_state=vgg_state, init=init, group=group)
        if state:
            trainer.restore(state["trainer"])
            del state
        recorder = None
        if group.writes:
            step = progress.step if resume else None
            if not resume:
                notes = notes | {"bicubic": bicubic_scores(crops, measures_of(config), scale=config.scale)}
            folder = open_run(
                run, config, photos, to_validate_on, device=device, processes=group.size, about=about, notes=notes,
                resumed_at=step,
            )  # fmt: skip
            recorder = Recorder(folder, config, meter, about=about, tensorboard=tensorboard)
            stack.callback(recorder.close)
            if not resume:
                recorder.save(trainer, progress)
        loader = stack.enter_context(closing(make_loader(config, to_train_on, device, group)))
        loader.start(progress.step)
        started = time.perf_counter() - progress.elapsed

        over = fraction() >= 1 or impatient()
        if over and recorder:
            recorder.finish(None, progress, limits_reached(config, progress, photos=len(to_train_on)))
        while not over:
            began = time.perf_counter()
            try:
                batch = next(loader)
            except (ImageError, TrainingError) as error:
                if recorder:
                    recorder.save(trainer, progress)
                raise type(error)(f"{error}; {hint}") from error
            loading = time.perf_counter() - began
            remarks += [f"{path}: skipped, {reason}" for path, reason in batch.damaged if path not in skipped]
            skipped.update(path for path, _ in batch.damaged)

            lr = learning_rate(config, progress.step, fraction()) * progress.lr_factor
            try:
                losses = trainer.learn(batch)
                elapsed = time.perf_counter() - started
                losses, progress.elapsed, stopped = agree(group, losses, elapsed=elapsed, stop=stop.wanted)
                trainer.update(lr)
            except NotFinite as trouble:
                progress, remark = recover(trouble, batch, trainer, progress, recorder, group, hint)
                remarks.append(remark)
                loader.start(progress.step)
                continue

            if trainer.adversary and (won := trainer.adversary.remark()):
                remarks.append(won)
            seconds = time.perf_counter() - began
            progress.add({"steps": 1, "seconds": seconds, "loading": loading, **losses})
            epoch = progress.step * config.batch_size / len(to_train_on)
            over = fraction() >= 1
            values, best = None, False
            # A stop in between changes nothing of what the run's files will hold once it is resumed.
            if crops and (over or progress.step % config.validate_every == 0):
                values = validate(trainer.result, crops, measures_of(config), device=device, group=group)
                best = progress.improves(values[config.best], MEASURES[config.best])
                over = over or impatient()
                if recorder:
                    recorder.write_validation(trainer, progress, values=values, best=best, crops=crops)
            if recorder and (over or progress.step % config.log_every == 0):
                recorder.write_metrics(progress, epoch=epoch, lr=lr)
            over = over or stopped
            if recorder:
                epoch_ended = ends_epoch(config, progress.step, photos=len(to_train_on))
                if over or recorder.should_save(epoch_ended=epoch_ended):
                    recorder.save(trainer, progress)
            energy = total_energy(group, meter, device) if over else None
            if recorder and energy:
                recorder.finish(energy, progress, limits_reached(config, progress, photos=len(to_train_on)))

            yield TrainStep(
                step=progress.step,
                fraction=min(1.0, fraction()),
                epoch=epoch,
                losses=losses,
                lr=lr,
                seconds=seconds,
                loading=loading,
                teaching=trainer.teacher.seconds if trainer.teacher else 0.0,
                validation=values,
                best=best,
                best_yet=None if progress.best is None else (progress.best, progress.best_step),
                remarks=tuple(remarks),
                reading=meter.latest,
                energy=energy,
            )
            remarks.clear()


def recover(
    trouble: NotFinite,
    batch: Batch,
    trainer: Trainer,
    progress: Progress,
    recorder: Recorder | None,
    group: Group,
    hint: str,
) -> tuple[Progress, str]:
    """Restore the last state, with half the learning rate, if ``--on-nan`` allows it.

    If the last rollback went there too, the state before it is restored.

    Args:
        recorder: that of the process that writes; it forgets what it recorded after the state.
        hint: how the user can continue, for the error message.

    Returns:
        The progress to continue from, and a remark for the user.

    Raises:
        TrainingError: rollback is off, or there have been `MAX_ROLLBACKS`.
    """
    files = ", ".join(str(path) for paths in group.gather(batch.paths) for path in paths)
    what = f"{trouble} at step {progress.step + 1}; the batch came from {files}"
    if trainer.config.on_nan == "stop":
        raise TrainingError(f"{what}; {hint}, and a lower --lr or --on-nan rollback")
    if progress.rollbacks == MAX_ROLLBACKS:
        raise TrainingError(f"{what}; gave up after {MAX_ROLLBACKS} rollbacks; {hint}, and a lower --lr")
    state: dict[str, Any] | None = None
    if recorder:
        if recorder.run.last_step == progress.rolled_back_to:
            recorder.run.drop_last_state()
        state = read_state(recorder.run.path)
    state = group.broadcast(state)
    trainer.restore(state["trainer"])
    restored = Progress(**state["progress"])
    restored.lr_factor, restored.rollbacks = progress.lr_factor / 2, progress.rollbacks + 1
    restored.rolled_back_to = restored.step
    if recorder:
        recorder.run.forget_after(restored.step)
        recorder.save(trainer, restored)
    return restored, f"{what}; rolled back to step {restored.step}, learning rate × {restored.lr_factor:g}"


def where_it_stands(run: Path, config: TrainConfig, photos: Photos) -> tuple[int, dict[str, bool]]:
    """The steps that a run has done, and `limits_reached`."""
    progress = Progress(**read_state(run)["progress"])
    to_train_on = len(photos) - validation_count(config, len(photos))
    return progress.step, limits_reached(config, progress, photos=to_train_on)


def check_group(group: Group, config: TrainConfig, photos: Photos) -> None:
    """Refuse, by a `TrainingError`, processes that cannot share batches evenly, or that see different photos."""
    if config.batch_size % group.size:
        raise TrainingError(f"{group.size} processes cannot share batches of {config.batch_size} evenly")
    if len(set(group.gather(photos.fingerprint))) > 1:
        raise TrainingError(f"{photos.folder}: the processes of this training see different photos")


def configure_process(config: TrainConfig) -> None:
    """Apply the settings that hold for the whole process: memory, cuDNN, determinism."""
    keep_freed_memory((1 << 30) - 1)  # bytes: the next step needs the same blocks again
    torch.backends.cudnn.benchmark = not config.deterministic
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def make_batches(config: TrainConfig, photos: Photos, group: Group = ALONE) -> Batches:
    """The batches of this process."""
    same = ("scale", "crop_size", "degradation", "min_downscale", "seed", "real")
    pairs = TrainingPairs(photos, **{name: getattr(config, name) for name in same})
    return Batches(
        pairs, batch_size=config.batch_size, part=group.rank, parts=group.size, lr_only_share=config.teacher_only_share
    )


def make_loader(config: TrainConfig, photos: Photos, device: torch.device, group: Group) -> Loader:
    """Loads `make_batches`. By default, a worker per CPU beside a GPU; on a CPU they would slow the network."""
    workers = config.workers
    if workers is None:
        workers = min(8, cpus() // group.local_size) if device.type == "cuda" else 0
    return Loader(make_batches(config, photos, group), workers=workers, pin=device.type == "cuda")


def agree(
    group: Group, losses: dict[str, float], *, elapsed: float, stop: bool
) -> tuple[dict[str, float], float, bool]:
    """The mean losses of all processes, the first one's clock, and whether any wants to stop; or `NotFinite`."""
    mine = [group.size * elapsed if group.writes else 0.0, float(stop)]
    *means, elapsed, wishes = group.mean([*losses.values(), *mine])
    for name, value in zip(losses, means, strict=True):
        if not math.isfinite(value):
            raise NotFinite(f"the {name} loss is {value}")
    return dict(zip(losses, means, strict=True)), elapsed, wishes > 0


def total_energy(group: Group, meter: EnergyMeter, device: torch.device) -> EnergyReport:
    """What all processes consumed; processes that share a device count once."""
    reports = group.gather((socket.gethostname(), str(device), meter.report()))
    return in_parallel(list({(host, device): report for host, device, report in reports}.values()))
