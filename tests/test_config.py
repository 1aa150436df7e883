import math
from dataclasses import replace

import pytest

from sr_cli.config import TrainConfig, recipe
from sr_cli.errors import UsageError
from sr_cli.losses.parse import parse_loss
from sr_cli.networks.registry import built_in
from sr_cli.training.settings import RESUMABLE, fresh_config


@pytest.mark.parametrize("arch", built_in())
def test_recipes_are_whole(arch):
    assert recipe(arch).arch == arch
    assert parse_loss(recipe(arch).loss)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"crop_size": 287}, "crop_size"),
        ({"lr": 0.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"save_minutes": math.inf}, "save_minutes"),
        ({"depth": 10**6}, "depth"),
        ({"seed": 10**30}, "seed"),
        ({"best": "ssim", "validation_photos": 0}, "best"),
        ({"lr": "fast"}, "lr"),
        ({"steps": 2.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"deterministic": 1}, "deterministic"),
        ({"schedule": "sine"}, "schedule"),
        ({"ema": 1.0}, "ema"),
        ({"warmup": -1}, "warmup"),
        ({"epochs": None}, "end"),
        ({"patience": 3, "validation_photos": 0}, "patience"),
    ],
    ids=str,
)
def test_nonsense_is_refused_by_name(changes, named):
    with pytest.raises(ValueError, match=named):
        TrainConfig(**changes)


def test_johnson_is_trained_as_the_report_says_but_for_how_it_begins():
    report = TrainConfig()
    assert (report.lr, report.batch_size, report.epochs, report.crop_size) == (1e-3, 4, 5, 288)
    assert (report.schedule, report.loss, report.degradation) == ("constant", "johnson", "paper")
    assert replace(recipe("johnson"), initialization="random", batch_norm="batch", output_lr=1.0) == report


def test_a_given_end_replaces_the_recipes():
    assert fresh_config({}).epochs == recipe("compact").epochs
    config = fresh_config({"arch": "johnson", "steps": 60})
    assert (config.steps, config.epochs, config.hours) == (60, None, None)
    both = fresh_config({"epochs": 2.0, "hours": 1.5})
    assert (both.steps, both.epochs, both.hours) == (None, 2.0, 1.5)


def test_patches_of_compact_follow_the_scale():
    with pytest.raises(UsageError, match="no setting is called 'name'"):
        fresh_config({"name": "a"})
    assert fresh_config({"scale": 3}).crop_size == 144
    assert fresh_config({"scale": 3, "crop_size": 48}).crop_size == 48
    with pytest.raises(UsageError, match="multiple"):
        fresh_config({"scale": 3, "crop_size": 50})


def test_only_settings_can_be_resumable():
    assert set(RESUMABLE) <= set(TrainConfig.__dataclass_fields__)
