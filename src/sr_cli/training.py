"""Training: a loop that reads from top to bottom and yields a step at a time."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from sr_cli import metrics
from sr_cli.checkpoint import load_network, load_state, save_network, save_state
from sr_cli.config import TrainConfig
from sr_cli.data import Photos, TrainingPairs, collate, validation_pairs
from sr_cli.errors import TrainingError
from sr_cli.losses import VGGFeatures, WeightedSum, feature_layers, parse_loss
from sr_cli.networks import Compact, Johnson, build


@dataclass(frozen=True)
class TrainStep:
    """What happened in one step.

    Attributes:
        step: number of the step, from 1.
        fraction: how much of the training is done, in [0, 1].
        epoch: epochs done, with its fraction.
        losses: the weighted terms whose sum was minimised.
        lr: the learning rate that was used.
        seconds: time of the step; ``loading`` is the part that it waited for data.
        validation: PSNR on Y in dB over the held-out photos, in steps that validate.
        best: whether ``validation`` is the best so far.
    """

    step: int
    fraction: float
    epoch: float
    losses: dict[str, float]
    lr: float
    seconds: float
    loading: float
    validation: float | None = None
    best: bool = False


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
) -> Iterator[TrainStep]:
    """Train a network and leave its weights in ``run``.

    The exponential moving average of the weights goes to ``model.safetensors`` at the end and whenever the state is
    saved, the best by validation to ``best.safetensors``, the whole state to ``last.pt``.

    Args:
        config: the settings.
        photos: HR photos; some are held out where ``config.validation_photos`` says so.
        device: where to compute.
        run: the folder of the run.
        vgg_state: weights of the loss network; needed where the loss has a ``feature`` term.
        init: weights to start from.
        resume: go on from ``last.pt``.
        about: what the header of the weights shall say besides the settings.

    Yields:
        A `TrainStep` after every step.

    Raises:
        TrainingError: a loss is not finite, or there is nothing to resume from.
        ValueError: the architecture doesn't come in that scale or shape.
    """
    terms = parse_loss(config.loss)
    layers = feature_layers(terms)
    vgg = VGGFeatures(vgg_state or {}, layers) if layers else None
    held_out = min(config.validation_photos, len(photos) - 1)
    training_photos, validation_photos = photos.split(held_out, seed=config.seed)
    pairs = TrainingPairs(
        training_photos,
        scale=config.scale,
        crop_size=config.crop_size,
        degradation=config.degradation,
        crop=config.crop,
        seed=config.seed,
    )

    layout = torch.channels_last if config.arch == "johnson" else torch.contiguous_format
    torch.manual_seed(config.seed)
    network = build(name=config.arch, scale=config.scale, width=config.width, depth=config.depth)
    if init is not None:
        network.load_state_dict(load_network(init)[0].state_dict())
    network.to(device=device, memory_format=layout).train()
    loss = WeightedSum(terms, scale=config.scale, vgg=vgg).to(device=device, memory_format=layout)
    averaged = AveragedModel(network, avg_fn=_moving_average(config.ema), use_buffers=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr)
    step, elapsed, best = 0, 0.0, -math.inf
    if resume:
        state = load_state(run / "last.pt")
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed, best = state["step"], state["elapsed"], state["best"]

    def save() -> None:
        details = {"training": asdict(config) | {"steps_done": step, "seconds": round(elapsed)}, **(about or {})}
        save_network(run / "model.safetensors", averaged.module, about=details)
        save_state(
            run / "last.pt",
            {
                "step": step,
                "elapsed": elapsed,
                "best": best,
                "network": network.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
            },
        )

    loader = _loader(pairs, batch_size=config.batch_size, first=step * config.batch_size)
    began, saved = time.perf_counter(), time.perf_counter()
    while (fraction := _done(config, step, elapsed=elapsed, photos=len(training_photos))) < 1:
        hr, lr, paths = next(loader)
        loaded = time.perf_counter()
        hr, lr = (batch.to(device=device, memory_format=layout, non_blocking=True) for batch in (hr, lr))
        rate = learning_rate(config, step, fraction)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        parts = loss(network(lr), hr)
        sum(parts.values()).backward()
        values = {name: part.item() for name, part in parts.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                files = ", ".join(map(str, paths))
                raise TrainingError(f"the {name} loss is {value} at step {step + 1}; the batch came from {files}")
        if config.clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimizer.step()
        averaged.update_parameters(network)

        step += 1
        now = time.perf_counter()
        seconds, began = now - began, now
        elapsed += seconds
        validation, is_best = None, False
        ended = _done(config, step, elapsed=elapsed, photos=len(training_photos)) >= 1
        if len(validation_photos) and (step % config.validate_every == 0 or ended):
            validation = validate(averaged.module, validation_photos, config=config, device=device)
            if is_best := validation > best:
                best = validation
                details = {"training": asdict(config) | {"steps_done": step}, "validation_psnr": best, **(about or {})}
                save_network(run / "best.safetensors", averaged.module, about=details)
        if ended or now - saved > 60 * config.save_minutes:
            save()
            saved = now
        yield TrainStep(
            step=step,
            fraction=min(1.0, _done(config, step, elapsed=elapsed, photos=len(training_photos))),
            epoch=step * config.batch_size / len(training_photos),
            losses=values,
            lr=rate,
            seconds=seconds,
            loading=loaded - now + seconds,
            validation=validation,
            best=is_best,
        )


def learning_rate(config: TrainConfig, step: int, fraction: float) -> float:
    """The learning rate of a step: a linear rise over the warm-up, then as the schedule says.

    Args:
        step: steps done before this one.
        fraction: how much of the training is done, in [0, 1].
    """
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    if config.schedule == "cosine":
        return config.lr * warm * (1 + math.cos(math.pi * fraction)) / 2
    return config.lr * warm


@torch.no_grad()
def validate(network: Johnson | Compact, photos: Photos, *, config: TrainConfig, device: torch.device) -> float:
    """Mean PSNR on Y, in dB, over the centres of the held-out photos."""
    was_training = network.training
    network.eval()
    total = 0.0
    for pair in validation_pairs(photos, scale=config.scale, degradation=config.degradation):
        sr = network(pair.lr[None].to(device)).clamp(0, 1)
        total += float(metrics.psnr(sr.cpu(), pair.hr[None], shave=config.scale))
    network.train(was_training)
    return total / len(photos)


def _done(config: TrainConfig, step: int, *, elapsed: float, photos: int) -> float:
    """How much of the training is done: 1 or more when the first limit is reached."""
    fractions = []
    if config.steps is not None:
        fractions.append(step / config.steps)
    if config.epochs is not None:
        fractions.append(step * config.batch_size / (config.epochs * photos))
    if config.hours is not None:
        fractions.append(elapsed / (3600 * config.hours))
    return max(fractions)


def _loader(pairs: TrainingPairs, *, batch_size: int, first: int) -> Iterator[tuple[Tensor, Tensor, list[Path]]]:
    """Batches without end, from pair number ``first`` on."""
    numbers = range(first, 2**62)
    return iter(DataLoader(pairs, batch_size=batch_size, sampler=numbers, collate_fn=collate))


def _moving_average(decay: float) -> Any:
    """EMA whose decay grows towards ``decay``, so that a short training forgets its initialisation."""

    def average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not old.is_floating_point():
            return new
        weight = min(decay, (1 + int(count)) / (10 + int(count)))
        return torch.lerp(new, old, weight)

    return average
