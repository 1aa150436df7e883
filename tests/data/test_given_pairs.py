from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sr_cli.data import Photos, TrainingPairs, validation_pairs
from sr_cli.errors import ImageError
from sr_cli.training.loop import make_batches, train
from sr_cli.training.state import Stop
from support.trainings import CPU, TINY, digest

NAMES = ("a.png", "b.png", "below/c.png")
SIZES = ((40, 36), (45, 33), (32, 38))  # height and width of LR


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    """HR of 2×2 blocks of one color, their LR under the names of a tool, and LR that is darker by half."""
    rng = np.random.default_rng(0)
    for name, size in zip(NAMES, SIZES, strict=True):
        lr = rng.integers(0, 256, (*size, 3), np.uint8)
        hr = np.pad(lr.repeat(2, 0).repeat(2, 1), ((0, 1), (0, 0), (0, 0)))  # a row more than the scale needs
        write(tmp_path / "hr" / name, hr)
        write(tmp_path / "lr" / name.replace(".png", "_x2.png"), lr)
        write(tmp_path / "dark" / name, lr // 2)
    return tmp_path


def photos_of(folder, *lr, **changes):
    lr_folders = [folder / each for each in lr or ("lr",)]
    options = {"min_side": 32, "cache_bytes": 1 << 24, "lr_folders": lr_folders, "scale": 2} | changes
    return Photos.below(folder / "hr", **options)


def pairs_of(photos, **changes):
    return TrainingPairs(photos, **{"scale": 2, "crop_size": 32, "degradation": "given"} | changes)


@pytest.mark.parametrize("cache_bytes", [0, 9000, 1 << 24])
def test_both_patches_show_the_same_place(folders, cache_bytes):
    pairs = pairs_of(photos_of(folders, cache_bytes=cache_bytes))
    for index in range(24):
        pair = pairs[index]
        assert pair.hr.shape == (3, 32, 32)
        assert torch.equal(pair.lr, pair.hr[:, ::2, ::2])
        assert torch.equal(pair.lr, pairs[index].lr)
    assert len({pairs[i].lr.sum() for i in range(24)}) == 24


def test_the_crops_of_a_validation_show_the_same_place(folders):
    for side in (30, 256):
        crops = list(validation_pairs(photos_of(folders), scale=2, degradation="given", side=side))
        assert len(crops) == 3
        for crop in crops:
            assert torch.equal(crop.lr, crop.hr[:, ::2, ::2])


def test_of_several_folders_one_is_drawn_per_patch(folders):
    pairs = pairs_of(photos_of(folders, "lr", "dark"))
    drawn = [pairs[index] for index in range(60)]
    dark = [pair for pair in drawn if str(folders / "dark") in pair.steps[0]]
    bright = [pair for pair in drawn if str(folders / "lr") in pair.steps[0]]
    assert len(dark) + len(bright) == 60 and 15 < len(dark) < 45
    for pair in bright:
        assert torch.equal(pair.lr, pair.hr[:, ::2, ::2])
    for pair in dark:
        assert torch.equal((255 * pair.lr).round(), ((255 * pair.hr[:, ::2, ::2]).round() / 2).floor())


def test_what_does_not_fit_is_named_and_left_out(folders):
    write(folders / "lr/a_x2.png", np.zeros((40, 35, 3), np.uint8))
    write(folders / "lr/b-lr.png", np.zeros((45, 33, 3), np.uint8))
    photos = photos_of(folders)
    assert [path.name for path in photos.paths] == ["c.png"]
    reasons = {path.name: reason for path, reason in photos.skipped if "no usable" not in reason}
    assert reasons["a_x2.png"] == f"its 35×40 pixels times 2 are not the 72×81 of {folders / 'hr/a.png'}"
    assert "several partners" in reasons["b.png"]
    assert [path.name for path, reason in photos.skipped if reason == "has no usable LR"] == ["a.png", "b.png"]
    assert len(photos_of(folders, "lr", "dark")) == 3  # the other folder has LR for both
    with pytest.raises(ImageError, match="no photo to train on"):
        photos_of(folders, scale=3)
    with pytest.raises(ImageError, match="nowhere"):
        photos_of(folders, "nowhere")


def test_a_damaged_lr_file_is_replaced_by_another_photo(folders):
    path = folders / "lr/b_x2.png"
    path.write_bytes(path.read_bytes()[:200])
    photos = photos_of(folders)
    drawn = [pairs_of(photos)[index] for index in range(6)]
    assert {pair.path.name for pair in drawn} == {"a.png", "c.png"}
    (damaged,) = {photo for pair in drawn for photo in pair.damaged}
    assert damaged[0].name == "b.png" and "b_x2.png" in damaged[1]
    assert len(list(validation_pairs(photos_of(folders), scale=2, degradation="given"))) == 2


def test_the_halves_of_a_split_keep_their_lr(folders):
    for part in photos_of(folders).split(1, seed=1):
        assert [lr[0].stem for lr in part.lr] == [f"{hr.stem}_x2" for hr in part.paths]


def test_other_lr_is_another_set_of_photos(folders):
    before = photos_of(folders).fingerprint
    assert photos_of(folders).fingerprint == before
    assert photos_of(folders, "dark").fingerprint != before


@pytest.mark.parametrize("parts", [1, 2])
def test_workers_and_processes_share_the_same_sequence(folders, parts):
    config = replace(TINY, degradation="given", batch_size=4)
    photos = photos_of(folders, "lr", "dark")
    whole = make_batches(config, photos)[3]
    pieces = []
    for part in range(parts):
        batches = make_batches(config, photos_of(folders, "lr", "dark"))
        batches.part, batches.parts = part, parts
        pieces.append(batches[3].lr)
    assert torch.equal(torch.cat(pieces), whole.lr)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_for_bit(folders, tmp_path):
    config = replace(TINY, degradation="given", steps=8)
    photos = photos_of(folders, "lr", "dark")
    assert len(list(train(config, photos, CPU, run=tmp_path / "whole"))) == 8
    stop = Stop()
    for step in train(config, photos, CPU, run=tmp_path / "stopped", stop=stop):
        stop.wanted = step.step == 3
    assert step.step < 8
    list(train(config, photos, CPU, run=tmp_path / "stopped", resume=True))
    assert digest(tmp_path / "stopped/model.safetensors") == digest(tmp_path / "whole/model.safetensors")
