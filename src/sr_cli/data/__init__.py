"""Training data: photos found, decoded once and kept; HR patches cropped; LR made from them; batches, anywhere.

``photos`` finds and decodes, ``cache`` keeps, ``degradation`` makes LR, ``pairs`` puts the two together, ``loader``
gathers pairs into the batches of a step.
"""

from sr_cli.data.degradation import degrade, quantize
from sr_cli.data.loader import Batch, Batches, Loader
from sr_cli.data.pairs import Pair, TrainingPairs, augment, crop_patch, validation_pairs
from sr_cli.data.photos import Photos

__all__ = [
    "Batch",
    "Batches",
    "Loader",
    "Pair",
    "Photos",
    "TrainingPairs",
    "augment",
    "crop_patch",
    "degrade",
    "quantize",
    "validation_pairs",
]
