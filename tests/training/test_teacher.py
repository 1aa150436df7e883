"""A teacher: its results are targets, and photos at their own resolution can be LR."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sr_cli.data import Batches, TrainingPairs
from sr_cli.errors import TrainingError, UsageError
from sr_cli.imageops.resize import resize
from sr_cli.training.loop import train
from sr_cli.training.run_folder import read_config
from sr_cli.training.teacher import Teacher
from sr_cli.training.trainer import Trainer
from sr_cli.weights.checksums import sha256_of
from support.distributed_parts import batch_for
from support.trainings import CPU, TINY, digest, photos_in

TAUGHT = {"loss": "pixel:l1=0.5+teacher:l1=1,detail=0.5", "teacher_only_share": 0.5}


SHAPE = {"name": "compact", "scale": 2, "width": 8, "depth": 2}


@pytest.fixture
def teacher(weights_of):
    """A weights file."""
    return str(weights_of(**SHAPE))


def test_who_is_the_teacher_has_nothing_to_learn(photo_folder, teacher, lively):
    config = replace(TINY, loss="teacher:l1=1,l2=1,psnr=1,chroma=1,detail=1", teacher=teacher, depth=2)
    trainer = Trainer(config, CPU)
    itself = lively(**SHAPE)
    batch = batch_for(config, photo_folder.parent)
    assert sum(trainer.learn(batch).values()) > 1e-3
    trainer.network.load_state_dict(itself.state_dict())
    trainer.network.forward = lambda lr: itself(lr).clamp(0, 1)  # as a teacher's results are
    assert sum(trainer.learn(batch).values()) < 1e-4


@pytest.mark.slow
def test_it_stays_as_it_is_and_takes_a_student_towards_it(photo_folder, tmp_path, teacher):
    before = digest(teacher)
    config = replace(TINY, loss="teacher:l1", teacher=teacher, steps=30)
    steps = list(train(config, photos_in(photo_folder), CPU, run=tmp_path / "run"))
    assert steps[-1].losses["teacher_l1"] < steps[0].losses["teacher_l1"] / 2
    assert all(step.teaching > 0 for step in steps)
    assert digest(teacher) == before


def test_what_it_enlarges_further_is_reduced(photo, lively):
    network = lively(**SHAPE | {"scale": 4})
    taught = Teacher(network, CPU, scale=2)(photo)
    reduced = resize(network(photo).clamp(0, 1), taught.shape[-2:]).clamp(0, 1)
    assert taught.shape[-1] == 2 * photo.shape[-1]
    torch.testing.assert_close(taught, reduced, rtol=1e-4, atol=1e-4)


def test_overflow_in_half_precision_turns_to_float32(lively, photo, monkeypatch):
    monkeypatch.setattr("sr_cli.training.teacher.dtype_for", lambda *_, **__: torch.float16)
    network = lively(**SHAPE)
    with torch.no_grad():
        network.head.weight *= 1e6
        network.tail.weight /= 1e6
    taught = Teacher(network, CPU, scale=network.scale)(photo)
    torch.testing.assert_close(taught, network(photo).clamp(0, 1), rtol=1e-4, atol=1e-4)


def test_a_share_of_the_batch_is_photos_at_their_own_resolution(photo_folder):
    photos = photos_in(photo_folder)
    pairs = TrainingPairs(photos, scale=2, crop_size=32, degradation="bicubic")
    batch = Batches(pairs, batch_size=4, lr_only_share=0.5)[0]
    assert batch.hr.shape == (2, 3, 32, 32)
    assert batch.lr.shape == (4, 3, 16, 16)
    for patch, path in zip(batch.lr[2:], batch.paths[2:], strict=True):
        pixels = torch.from_numpy(photos.pixels(photos.paths.index(path))).permute(2, 0, 1) / 255
        values = {tuple(column) for column in pixels.flatten(1).T.tolist()}
        assert {tuple(column) for column in patch.flatten(1).T.tolist()} <= values


@pytest.mark.slow
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(photo_folder, tmp_path, teacher):
    config = replace(
        TINY,
        **TAUGHT | {"loss": TAUGHT["loss"] + "+adversarial=0.1"},
        teacher=teacher,
        discriminator_width=4,
        self_ensemble_weight=0.1,
        adversarial_start=2,
        save_minutes=1e-6,
    )
    photos = photos_in(photo_folder)
    whole = list(train(config, photos, CPU, run=tmp_path / "whole"))
    training = train(config, photos, CPU, run=tmp_path / "part")
    first = [next(training) for _ in range(3)]
    training.close()
    second = list(train(config, photos, CPU, run=tmp_path / "part", resume=True))
    assert [(s.step, s.losses) for s in [*first, *second]] == [(s.step, s.losses) for s in whole]
    assert digest(tmp_path / "part/model.safetensors") == digest(tmp_path / "whole/model.safetensors")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"teacher": None, "teacher_only_share": 0.0}, "name it with --teacher"),
        ({"loss": "pixel"}, "needs a loss term such as teacher:l1=1"),
        ({"teacher_only_share": 1.0}, "leaves none"),
        ({"loss": "teacher:rms=1"}, "no part 'rms'"),
        ({"scale": 3, "crop_size": 33}, "enlarges 2 times, which isn't a multiple of 3"),
    ],
)
def test_what_cannot_be_is_refused(teacher, changes, complaint):
    with pytest.raises(UsageError, match=complaint):
        Trainer(replace(TINY, **{**TAUGHT, "teacher": teacher, **changes}), CPU)


def test_a_teacher_only_training_needs_no_hr(photo_folder, tmp_path, teacher):
    config = replace(TINY, loss="teacher:l1", teacher=teacher, teacher_only_share=1.0, steps=2)
    assert len(list(train(config, photos_in(photo_folder), CPU, run=tmp_path / "run"))) == 2


def test_a_run_records_its_teacher_and_goes_on_with_no_other(photo_folder, tmp_path, teacher, weights_of, monkeypatch):
    monkeypatch.chdir(Path(teacher).parent)
    config = replace(TINY, loss="teacher:l1", teacher=Path(teacher).name, steps=1)
    photos, run = photos_in(photo_folder), tmp_path / "run"
    list(train(config, photos, CPU, run=run))
    recorded = read_config(run)
    assert recorded["settings"]["teacher"] == recorded["teacher"] == teacher
    assert recorded["teacher_sha256"] == sha256_of(Path(teacher))
    assert weights_of(**SHAPE | {"depth": 1}) == Path(teacher)
    with pytest.raises(TrainingError, match="not the teacher that the run began with"):
        list(train(replace(config, steps=2), photos, CPU, run=run, resume=True))
