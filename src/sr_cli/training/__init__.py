"""Training: `train` is the loop; `Trainer` is what a step changes."""

from sr_cli.training.loop import train
from sr_cli.training.schedule import fraction_done, learning_rate
from sr_cli.training.state import Stop, TrainStep
from sr_cli.training.trainer import Trainer
from sr_cli.training.validation import validate

__all__ = ["Stop", "TrainStep", "Trainer", "fraction_done", "learning_rate", "train", "validate"]
