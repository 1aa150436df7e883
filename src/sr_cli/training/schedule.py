"""The length of a training and its learning rate."""

import math

from sr_cli.config import TrainConfig
from sr_cli.training.state import Progress


def learning_rate(config: TrainConfig, step: int, fraction: float) -> float:
    """The learning rate of a step: a linear warm-up, then the schedule.

    Args:
        step: steps done before this one.
        fraction: how much of the training is done, in [0, 1].
    """
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    if config.schedule == "cosine":
        return config.lr * warm * (1 + math.cos(math.pi * min(1.0, fraction))) / 2
    return config.lr * warm


def fraction_done(config: TrainConfig, progress: Progress, *, photos: int) -> float:
    """How much of a training on so many photos is done; 1 or more once the first limit is reached."""
    return max(_fractions(config, progress, photos).values())


def limits_reached(config: TrainConfig, progress: Progress, *, photos: int) -> dict[str, bool]:
    """Whether each limit of a training is reached, by the names of their settings."""
    fractions = _fractions(config, progress, photos)
    patience = {} if config.patience is None else {"patience": progress.stale >= config.patience}
    return {name: fraction >= 1 for name, fraction in fractions.items()} | patience


def _fractions(config: TrainConfig, progress: Progress, photos: int) -> dict[str, float]:
    fractions = {}
    if config.steps is not None:
        fractions["steps"] = progress.step / config.steps
    if config.epochs is not None:
        fractions["epochs"] = progress.step * config.batch_size / (config.epochs * photos)
    if config.hours is not None:
        fractions["hours"] = progress.elapsed / (3600 * config.hours)
    return fractions


def ends_epoch(config: TrainConfig, step: int, *, photos: int) -> bool:
    """Whether step number ``step``, counted from 1, contains the last pair of an epoch."""
    return step * config.batch_size // photos > (step - 1) * config.batch_size // photos
