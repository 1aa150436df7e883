"""Properties of a trained loss network. ``SR_LOSS_WEIGHTS`` names its VGG-16 file, too large for the repository."""

import os
from pathlib import Path

import pytest
import torch

from sr_cli.imageops.resize import resize
from sr_cli.losses.parse import PRESETS, WeightedSum, parse_loss
from sr_cli.networks.vgg import load_vgg_state

WEIGHTS = os.environ.get("SR_LOSS_WEIGHTS")


@pytest.mark.skipif(not WEIGHTS, reason="SR_LOSS_WEIGHTS doesn't name a VGG-16 file")
@pytest.mark.parametrize("preset", ["johnson", "perceptual"])
def test_feature_losses_prefer_the_original_to_a_blurred_picture(photo, preset):
    loss = WeightedSum(parse_loss(PRESETS[preset]), scale=2, vgg_state=load_vgg_state(Path(WEIGHTS or "")))
    blurred = resize(resize(photo, (30, 42)), (60, 84)).clamp(0, 1)
    blurrier = resize(resize(photo, (15, 21)), (60, 84)).clamp(0, 1)
    with torch.no_grad():
        same, near, far = (sum(loss(sr, photo).values()) for sr in (photo, blurred, blurrier))
    assert same == pytest.approx(0, abs=1e-5)  # roots have a floor
    assert same < near < far
