"""An adversarial training: the discriminators, what they judge, and that they leave no trace in the weights."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from sr_cli.errors import UsageError
from sr_cli.losses.discriminators import DISCRIMINATORS, PatchDiscriminator
from sr_cli.training.trainer import Trainer
from support.distributed_parts import batch_for
from support.trainings import CPU, TINY, rows, trained

ADVERSARIAL = {"loss": "pixel:l1=1+adversarial=0.1", "discriminator_width": 4, "discriminator_lr": 1e-3}


@pytest.fixture(params=DISCRIMINATORS)
def discriminator(request):
    torch.manual_seed(0)
    return DISCRIMINATORS[request.param](8)


def test_the_logits_are_finite_for_any_size_and_depend_on_every_layer(discriminator):
    for size in ((32, 32), (45, 67)):
        logits = discriminator(torch.rand(2, 3, *size))
        assert logits.shape[:2] == (2, 1)
        assert logits.isfinite().all()
    logits.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in discriminator.parameters())


def test_the_unet_judges_every_pixel():
    assert DISCRIMINATORS["unet"](4)(torch.rand(1, 3, 40, 48)).shape == (1, 1, 40, 48)


def test_a_patch_is_70_pixels_wide():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(4).double().eval()
    image = torch.rand(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    logits = discriminator(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    columns = image.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert int(columns.max() - columns.min()) + 1 == 70


def adversary(**changes):
    torch.manual_seed(0)
    config = replace(TINY, **{**ADVERSARIAL, **changes})
    return Trainer(config, CPU).adversary


@pytest.mark.slow
def test_the_network_is_pulled_to_what_the_discriminator_takes_for_hr():
    judge = adversary()
    hr = torch.rand(2, 3, 32, 32)
    for _ in range(40):
        judge.learn(hr / 4, hr)
        judge.update(1)
    sr = (hr / 4).requires_grad_()
    before = judge.loss(sr)
    before.backward()
    assert judge.loss(sr - 0.05 * sr.grad / sr.grad.abs().mean()) < before < judge.loss(sr + 0.05 * sr.grad.sign())


@pytest.mark.slow
def test_the_run_says_once_that_the_discriminator_has_won(monkeypatch):
    monkeypatch.setattr("sr_cli.training.adversary._MEMORY", 0.5)
    judge = adversary(discriminator_lr=1e-2)
    hr = torch.rand(2, 3, 32, 32)
    assert judge.remark() is None
    remarks = []
    for _ in range(40):
        judge.learn(torch.zeros_like(hr), hr)
        judge.update(1)
        remarks.append(judge.remark())
    assert sum(remark is not None for remark in remarks) == 1
    assert "has won" in next(filter(None, remarks))


def test_before_its_start_it_neither_learns_nor_pulls(photo_folder):
    config = replace(TINY, **ADVERSARIAL, adversarial_start=2)
    trainer = Trainer(config, CPU)
    fresh = {key: value.clone() for key, value in trainer.adversary.network.state_dict().items()}
    values = []
    for _ in range(3):
        values.append(trainer.learn(batch_for(config, photo_folder.parent)))
        same = all(torch.equal(value, fresh[key]) for key, value in trainer.adversary.network.state_dict().items())
        trainer.update(1e-3)
        assert same == (len(values) < 3)
    assert [value["adversarial"] > 0 for value in values] == [False, False, True]


@pytest.mark.slow
def test_the_training_records_the_judgments_and_keeps_the_discriminator_out_of_the_weights(photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "run", **ADVERSARIAL)
    last = rows(tmp_path / "run/metrics.csv")[-1]
    assert {"adversarial", "discriminator", "logit_sr", "logit_hr"} <= last.keys()
    trained(photo_folder, tmp_path / "plain")
    with (
        safe_open(tmp_path / "run/model.safetensors", "pt") as ours,
        safe_open(tmp_path / "plain/model.safetensors", "pt") as plain,
    ):
        assert ours.keys() == plain.keys()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"crop_size": 16}, "needs patches of 32 pixels"),
        ({"loss": "adversarial:unet=1"}, "no part 'unet'"),
        ({"loss": "adversarial=0"}, "invalid weight"),
    ],
)
def test_what_cannot_be_is_refused(changes, complaint):
    with pytest.raises(UsageError, match=complaint):
        Trainer(replace(TINY, **{**ADVERSARIAL, **changes}), CPU)


def test_a_state_restores_the_discriminator_too():
    first, second = adversary(), adversary(seed=4)
    hr = torch.rand(2, 3, 32, 32)
    for _ in range(3):
        first.learn(hr / 2, hr)
        first.update(1)
    second.restore(deepcopy(first.state()))
    for each in (first, second):
        each.learn(hr / 2, hr)
        each.update(1)
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
