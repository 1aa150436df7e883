"""The loop of a training, a step at a time."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_cli.config import TrainConfig
from sr_cli.data import Photos
from sr_cli.errors import TrainingError
from sr_cli.system.distributed import ALONE, Group, is_lost_peer
from sr_cli.training.session import Session
from sr_cli.training.steps import Stop, TrainStep


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
    """Train a network and leave everything about it in the folder ``run``.

    Args:
        config: the settings.
        photos: HR photos; some are held out where ``config.validation_photos`` says so.
        device: where to compute.
        run: the folder of the run.
        vgg_state: weights of the loss network; needed where the loss has a ``feature`` term.
        init: weights to start from.
        resume: go on from ``last.pt``; what comes is what would have come without the interruption.
        about: what ``config.json`` and the header of the weights shall say besides the settings.
        notes: what only ``config.json`` shall say.
        stop: set its ``wanted`` and the training saves and ends after the current step.
        group: the processes that share the training; each gets the steps, the first writes.
        tensorboard: write curves and samples for TensorBoard too.

    Yields:
        A `TrainStep` after every step.

    Raises:
        TrainingError: a loss is not finite, there is nothing to resume from, the run exists, a process was killed.
        ImageError: a photo has vanished.
        OutputError: the disk is full; the last state is whole.
        ValueError: the architecture doesn't come in that scale or shape.
    """
    with ExitStack() as stack:
        session = Session(config, photos, device, run=run, resume=resume, stop=stop or Stop(), group=group, stack=stack)
        session.begin(vgg_state=vgg_state, init=init, about=about or {}, notes=notes or {}, tensorboard=tensorboard)
        try:
            while not session.is_over:
                yield session.step()
        except RuntimeError as error:
            if group.size > 1 and is_lost_peer(error):
                raise TrainingError(f"another process of this training has ended; {session.hint}") from error
            raise
