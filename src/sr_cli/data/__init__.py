"""Training data: `Photos` are found and decoded, `TrainingPairs` cut HR patches from them and make LR, a `Loader`
puts pairs together into the batches of the steps.
"""

from sr_cli.data.degradation import degrade, quantize
from sr_cli.data.loader import Batch, Batches, Loader
from sr_cli.data.pairs import Pair, TrainingPairs, augment, crop_patch, validation_pairs
from sr_cli.data.photos import Photos
