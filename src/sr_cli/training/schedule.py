"""The length of a training and its learning rate."""

import math

from sr_cli.config import TrainConfig


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


def fraction_done(config: TrainConfig, step: int, *, elapsed: float, photos: int) -> float:
    """How much of the training is done; 1 or more once the first limit is reached.

    Args:
        step: steps done.
        elapsed: seconds that they took.
        photos: number of photos to train on.
    """
    fractions = []
    if config.steps is not None:
        fractions.append(step / config.steps)
    if config.epochs is not None:
        fractions.append(step * config.batch_size / (config.epochs * photos))
    if config.hours is not None:
        fractions.append(elapsed / (3600 * config.hours))
    return max(fractions)


def ends_epoch(config: TrainConfig, step: int, *, photos: int) -> bool:
    """Whether step number ``step``, counted from 1, contains the last pair of an epoch."""
    return step * config.batch_size // photos > (step - 1) * config.batch_size // photos
