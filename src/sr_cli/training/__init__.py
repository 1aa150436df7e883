"""Training: `train` is the loop, a step at a time.

``learner`` is what a step changes, ``schedule`` says how fast and until when, ``validation`` judges, ``provenance``
notes what a run was made from.
"""

from sr_cli.training.loop import train
from sr_cli.training.schedule import fraction_done, learning_rate
from sr_cli.training.steps import Stop, TrainStep
from sr_cli.training.validation import validate

__all__ = ["Stop", "TrainStep", "fraction_done", "learning_rate", "train", "validate"]
