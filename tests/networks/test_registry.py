"""What a network from outside must be, and what it is told if it isn't."""

import sys
from pathlib import Path

import pytest
import torch

from sr_cli.config import recipe
from sr_cli.errors import UsageError
from sr_cli.networks import registry

MODULE = """
import torch
from torch import nn
from torch.nn import functional as F
from sr_cli import Network

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
        ("FailsToRun", "fails on 23 × 19 pixels .RuntimeError: boom"),
        ("FailsToBuild", "cannot be built with .*KeyError: 'boom'"),
        ("Forgets", "must keep its argument channels"),
        ("Alters", "its argument scale is 2, but it keeps 4"),
        ("NotJson", "its argument channels is not a JSON value"),
        ("WithoutScale", "has a fixed scale"),
        ("WithoutParameters", "has no parameters"),
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
