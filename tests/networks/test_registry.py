"""What a network from outside must be, and what it is told if it isn't."""

import sys
from pathlib import Path

import pytest
import torch

from sr_cli.config import recipe
from sr_cli.errors import UsageError
from sr_cli.networks import registry
from sr_cli.training.trainer import Trainer

MODULE = """
import torch
from torch import nn
from torch.nn import functional as F
from sr_cli import Network
from sr_cli.networks.base import Geometry

class Right(Network):
    scales = (2, 3)
    recipe = {"loss": "pixel", "crop_size": 36}

    def __init__(self, *, scale, channels=4):
        super().__init__(scale=scale)
        self.channels = channels
        self.tail = nn.Conv2d(3, 3 * scale**2, 3, padding=1)

    def forward(self, lr):
        return F.pixel_shuffle(self.tail(lr), self.scale)

class WrongSize(Right):
    def forward(self, lr):
        return self.tail(lr)

class NoTensor(Right):
    def forward(self, lr):
        return [super().forward(lr)]

class FailsToRun(Right):
    def forward(self, lr):
        raise RuntimeError("boom")

class FailsToBuild(Right):
    def __init__(self, *, scale):
        raise KeyError("boom")

class Forgets(Right):
    def __init__(self, *, scale, channels=4):
        super().__init__(scale=scale)
        del self.channels

class Alters(Right):
    def __init__(self, *, scale, channels=4):
        super().__init__(scale=scale, channels=2 * channels)
        self.scale = 2 * scale

class NotJson(Right):
    def __init__(self, *, scale, channels=torch.float32):
        super().__init__(scale=scale, channels=channels)

class WithoutScale(Right):
    def __init__(self):
        super().__init__(scale=2)

class WithoutParameters(Network):
    def forward(self, lr):
        return F.interpolate(lr, scale_factor=self.scale)

class OfOtherScale(Right):
    @property
    def geometry(self):
        return Geometry(scale=self.scale + 1, halo=1)

class NoGeometry(Right):
    geometry = (2, 1)

class FailsToFuse(Right):
    def fuse(self):
        return self

class FusesToNothing(Right):
    def fuse(self, *, matrix_units=False):
        pass

class FusesWrongly(Right):
    def fuse(self, *, matrix_units=False):
        return self.tail if matrix_units else self

class StreamsNothing(Right):
    streams = True

class UnsureOfMemory(Right):
    def memory(self, height, width, *, itemsize=4):
        return "much"

class WithoutWeights(Right):
    def weights(self):
        return [1]

class CannotSayWhatItIs(Right):
    @property
    def architecture(self):
        return {"layer": self.tail}

class KernelsOfText(Right):
    def kernels_and_output(self):
        return ["tail.weight"], []

class Unique(Right):
    def __deepcopy__(self, memo):
        raise RuntimeError("boom")

class Detaches(Right):
    def forward(self, lr):
        return super().forward(lr).detach()

class FailsInTraining(Right):
    def forward(self, lr):
        assert not self.training, "boom"
        return super().forward(lr)

class FailsToInitialize(Right):
    def initialize(self, how):
        raise KeyError(how)

class OfAFile(Right):
    described_by_file = True

class ScalesOfText(Right):
    scales = "23"

class HalfScales(Right):
    scales = (2.5,)

class RecipeOfText(Right):
    recipe = "pixel"

class UnknownSetting(Right):
    recipe = {"beauty": 1}

class UnknownValue(Right):
    recipe = {"lr": "fast"}

class OddCrop(Right):
    recipe = {"lr_crop_size": [1]}
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch) -> str:
    """A module with such networks, on the path."""
    (tmp_path / "outside_networks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "outside_networks"
    sys.modules.pop("outside_networks", None)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("WrongSize", r"makes \(1, 12, 19, 23\) of \(1, 3, 19, 23\); it must make \(1, 3, 38, 46\)"),
        ("NoTensor", "makes list"),
        ("FailsToRun", "forward on 23 × 19 pixels fails .RuntimeError: boom"),
        ("FailsToBuild", "cannot be built with .*KeyError: 'boom'"),
        ("Forgets", "must keep its argument channels"),
        ("Alters", "its argument scale is 2, but it keeps 4"),
        ("NotJson", "its argument channels is not a JSON value"),
        ("WithoutScale", "has a fixed scale"),
        ("WithoutParameters", "has no parameters"),
        ("OfOtherScale", "geometry must be a Geometry of scale 2, not Geometry.scale=3"),
        ("NoGeometry", "geometry must be a Geometry of scale 2, not .2, 1."),
        ("FailsToFuse", r"fuse\(\) fails .TypeError"),
        ("FusesToNothing", r"fuse\(\) must be a module, not None"),
        ("FusesWrongly", r"the result of fuse\(\) makes \(1, 12, 19, 23\)"),
        ("StreamsNothing", r"has no stream\(\)"),
        ("UnsureOfMemory", r"memory\(\) must be an int or None, not 'much'"),
        ("WithoutWeights", r"weights\(\) fails"),
        ("CannotSayWhatItIs", "architecture fails .TypeError: .*JSON"),
        ("KernelsOfText", r"kernels_and_output\(\) must be two lists of parameters"),
        ("Unique", "deepcopy.* fails .RuntimeError: boom"),
        ("ScalesOfText", "its scales must be a tuple"),
        ("HalfScales", "its scales must be a tuple"),
        ("RecipeOfText", "its recipe must be a dictionary"),
    ],
)
def test_a_network_that_misbehaves_is_refused_once_it_is_built(outside, name, why):
    with pytest.raises(UsageError, match=f"network {outside}:{name}: .*{why}") as refusal:
        registry.build(name=f"{outside}:{name}", scale=2)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Detaches", "cannot be trained on LR patches of 18 pixels .RuntimeError: .*does not require grad"),
        ("FailsInTraining", "cannot be trained on LR patches of 18 pixels .AssertionError: boom"),
        ("FailsToInitialize", r"initialize\(\) fails .KeyError: 'random'"),
        ("OfAFile", r"from_file\(\) on any.pth fails .NotImplementedError"),
    ],
)
def test_one_that_cannot_be_trained_is_refused_before_the_first_step(outside, name, why):
    config = recipe(f"{outside}:{name}", scale=2)
    with pytest.raises(UsageError, match=f"{outside}:{name}.* {why}"):
        Trainer(config, torch.device("cpu"), init=Path("any.pth") if name == "OfAFile" else None)


def test_one_that_detaches_its_result_still_upscales(outside):
    assert registry.build(name=f"{outside}:Detaches", scale=2)(torch.rand(1, 3, 5, 5)).shape == (1, 3, 10, 10)


@pytest.mark.parametrize(
    ("name", "why"), [("UnknownSetting", "'beauty'"), ("UnknownValue", "lr must be a number"), ("OddCrop", "crop_size")]
)
def test_a_nonsensical_recipe_is_refused_by_the_network_s_name(outside, name, why):
    with pytest.raises(UsageError, match=f"network {outside}:{name}: .*{why}"):
        recipe(f"{outside}:{name}")


def test_trying_a_network_out_changes_nothing(outside):
    torch.manual_seed(0)
    first = registry.build(name=f"{outside}:Right", scale=3)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    again = registry.resolve(f"{outside}:Right")(scale=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.training
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
