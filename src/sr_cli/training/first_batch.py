"""A picture of what the first step of a training sees."""

from pathlib import Path

import torch
from PIL import Image

from sr_cli.config import TrainConfig
from sr_cli.data import Photos
from sr_cli.errors import UsageError
from sr_cli.system.atomic_files import atomic_write
from sr_cli.training.loop import make_batches
from sr_cli.training.teacher import Teacher
from sr_cli.training.validation import draw_pairs, validation_count


def draw_first_batch(file: Path, config: TrainConfig, photos: Photos, device: torch.device) -> None:
    """Draw the pairs of the first step, and the teacher's targets, if there is a teacher, into a PNG.

    Args:
        file: is overwritten.
        config: the settings of the training.
        photos: the HR photos, as `sr_cli.train` takes them.
        device: where the teacher computes.

    Raises:
        UsageError: ``file`` doesn't end with ``.png``, or see `Teacher.load`.
        OutputError: it cannot be written.
    """
    if file.suffix.lower() != ".png":
        raise UsageError(f"--show-pairs {file}: the name has to end with .png")
    teacher = Teacher.load(config, device)
    to_train_on, _ = photos.split(validation_count(config, len(photos)), seed=config.seed)
    pairs = make_batches(config, to_train_on).pairs_of(0)
    sheet = draw_pairs(pairs, config.scale, degradation=config.degradation, teacher=teacher)
    with atomic_write(file) as content:
        Image.fromarray(sheet).save(content, "PNG")
