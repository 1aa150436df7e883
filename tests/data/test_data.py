import contextlib
import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from sr_cli.data import Batches, Loader, Photos, TrainingPairs, validation_pairs
from sr_cli.data.photos import PixelCache
from sr_cli.errors import ImageError, TrainingError
from support.evaluations import folder_of_photos


def pairs_of(folder, *, cache_bytes=1 << 24, seed=0, degradation="photo"):
    photos = Photos.below(folder, min_side=32, cache_bytes=cache_bytes)
    return TrainingPairs(photos, scale=2, crop_size=32, degradation=degradation, seed=seed)


@pytest.fixture
def load():
    """Starts loaders, and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def start(batches, *, first=0, workers=0):
            loader = stack.enter_context(contextlib.closing(Loader(batches, workers=workers)))
            loader.start(first)
            return loader

        yield start


def same(a, b):
    return torch.equal(a.hr, b.hr) and torch.equal(a.lr, b.lr) and a.path == b.path


def damage(path):
    """Cut a photo short: its header stays whole."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_pair_is_a_function_of_its_number(photo_folder):
    one, other = pairs_of(photo_folder), pairs_of(photo_folder, cache_bytes=0)
    numbers = list(range(20))
    first = [one[i] for i in numbers]
    random.Random(0).shuffle(numbers)
    for i in numbers:
        assert same(other[i], first[i])
    assert not same(pairs_of(photo_folder, seed=1)[0], first[0])


def test_an_epoch_takes_every_photo_once(photo_folder):
    pairs = pairs_of(photo_folder)
    count = len(pairs.photos)
    epochs = [[pairs[epoch * count + i].path for i in range(count)] for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(pairs.photos.paths)
    assert epochs[0] != epochs[1]


def test_ranges_and_shapes(photo_folder):
    for i in range(6):
        pair = pairs_of(photo_folder)[i]
        assert pair.hr.shape == (3, 32, 32) and pair.lr.shape == (3, 16, 16)
        assert min(pair.hr.min(), pair.lr.min()) >= 0 and max(pair.hr.max(), pair.lr.max()) <= 1


@pytest.mark.slow
def test_half_of_the_photos_are_reduced(tmp_path):
    ramp = np.arange(256, dtype=np.uint8)[:, None, None] * np.ones((1, 256, 3), np.uint8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    photos = Photos.below(tmp_path, min_side=64, cache_bytes=0)
    pairs = TrainingPairs(photos, scale=2, crop_size=64, degradation="bicubic", min_downscale=0.5)
    spans = [255 * float(pairs[i].hr.max() - pairs[i].hr.min()) for i in range(200)]
    assert {pair.hr.shape for pair in (pairs[0], pairs[1])} == {(3, 64, 64)}
    assert 70 < sum(span == pytest.approx(63, abs=0.01) for span in spans) < 130
    assert 110 < max(spans) < 128 and min(spans) == pytest.approx(63, abs=0.01)
    assert same(pairs[7], pairs[7])


def test_no_photo_is_reduced_to_less_than_a_patch(tmp_path):
    Image.fromarray(np.zeros((70, 90, 3), np.uint8)).save(tmp_path / "small.png")
    photos = Photos.below(tmp_path, min_side=64, cache_bytes=0)
    pairs = TrainingPairs(photos, scale=2, crop_size=64, degradation="bicubic", min_downscale=0.1)
    assert {pairs[i].hr.shape for i in range(20)} == {(3, 64, 64)}


def test_parts_of_a_step_make_up_the_whole(photo_folder):
    pairs = pairs_of(photo_folder)
    whole = Batches(pairs, batch_size=4)[5]
    parts = [Batches(pairs, batch_size=4, part=part, parts=2)[5] for part in range(2)]
    assert torch.equal(whole.hr, torch.cat([part.hr for part in parts]))
    assert torch.equal(whole.lr, torch.cat([part.lr for part in parts]))
    with pytest.raises(ValueError, match="multiple"):
        Batches(pairs, batch_size=5, parts=2)


def test_workers_load_the_same_from_any_step(photo_folder, load):
    plain = load(Batches(pairs_of(photo_folder), batch_size=3))
    expected = [next(plain) for _ in range(8)]
    loaded = load(Batches(pairs_of(photo_folder), batch_size=3), first=4, workers=2)
    for batch in expected[4:]:
        found = next(loaded)
        assert torch.equal(found.hr, batch.hr) and torch.equal(found.lr, batch.lr) and found.paths == batch.paths


def test_workers_share_the_cache(photo_folder, load):
    pairs = pairs_of(photo_folder)
    loader = load(Batches(pairs, batch_size=3), workers=2)
    for _ in range(8):
        next(loader)
    cached = [pairs.photos.cache.get(i) for i in range(len(pairs.photos))]
    for path, pixels in zip(pairs.photos.paths, cached, strict=True):
        assert pixels is not None, "decoded by a worker, unknown to this process"
        if path.suffix == ".png":
            np.testing.assert_array_equal(pixels, np.asarray(Image.open(path)))


@pytest.mark.slow
def test_a_killed_worker_is_a_clear_error(photo_folder, load):
    loader = load(Batches(pairs_of(photo_folder), batch_size=2), workers=1)
    next(loader)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()  # the death alone must not raise here
    with pytest.raises(TrainingError, match="killed"):
        for _ in range(50):
            next(loader)


def test_the_cache_keeps_to_its_budget():
    cache = PixelCache([300, 300, 300], budget=700)
    assert (len(cache), cache.bytes) == (2, 600)
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    for index in range(3):
        assert cache.get(index) is None
        cache.put(index, pixels + index)
    for index in range(2):
        np.testing.assert_array_equal(cache.get(index), pixels + index)
    assert cache.get(2) is None


def test_unusable_photos_are_named_and_skipped(photo_folder):
    Image.new("RGB", (31, 200)).save(photo_folder / "small.png")
    (photo_folder / "noise.jpg").write_bytes(b"no picture")
    photos = Photos.below(photo_folder, min_side=32, cache_bytes=0)
    assert len(photos) == 6
    reasons = {path.name: reason for path, reason in photos.skipped}
    assert "31×200" in reasons["small.png"] and "is not an image" in reasons["noise.jpg"]


def test_a_folder_without_photos_is_an_error(tmp_path):
    with pytest.raises(ImageError, match=str(tmp_path)):
        Photos.below(tmp_path, min_side=32, cache_bytes=0)
    (tmp_path / "noise.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"noise\.jpg"):
        Photos.below(tmp_path, min_side=32, cache_bytes=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_behind_the_header_is_named_and_skipped_the_same_way(photo_folder, load, workers):
    damage(photo_folder / "photo1.png")
    loaders = [load(Batches(pairs_of(photo_folder), batch_size=3), workers=workers) for _ in range(2)]
    named = set()
    for _ in range(6):
        one, other = (next(loader) for loader in loaders)
        assert torch.equal(one.hr, other.hr) and len(one.paths) == 3
        assert photo_folder / "photo1.png" not in one.paths
        named |= {path for path, _ in one.damaged}
    assert named == {photo_folder / "photo1.png"}


def test_only_damaged_photos_are_an_error(tmp_path):
    folder_of_photos(tmp_path / "photos", "ab")
    for path in (tmp_path / "photos").iterdir():
        damage(path)
    with pytest.raises(ImageError, match="none of 2"):
        pairs_of(tmp_path / "photos")[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_vanished_photo_is_an_error_in_one_line(photo_folder, load, workers):
    pairs = pairs_of(photo_folder)
    (photo_folder / "photo2.jpg").unlink()
    loader = load(Batches(pairs, batch_size=6), workers=workers)
    with pytest.raises(ImageError, match=r"photo2\.jpg") as caught:
        next(loader)
    assert "\n" not in str(caught.value)


def test_splits_are_disjoint_and_the_seeds(photo_folder):
    photos = Photos.below(photo_folder, min_side=32, cache_bytes=0)
    train, held_out = photos.split(2, seed=5)
    assert len(held_out) == 2 and sorted(train.paths + held_out.paths) == photos.paths
    assert photos.split(2, seed=5)[1].paths == held_out.paths
    with pytest.raises(ImageError, match="too few"):
        photos.split(6, seed=5)


def test_the_fingerprint_knows_content_not_place(photo_folder, tmp_path):
    before = Photos.below(photo_folder, min_side=32, cache_bytes=0).fingerprint
    moved = photo_folder.rename(tmp_path / "elsewhere")
    assert Photos.below(moved, min_side=32, cache_bytes=0).fingerprint == before
    (moved / "photo0.jpg").unlink()
    assert Photos.below(moved, min_side=32, cache_bytes=0).fingerprint != before


def test_validation_crops_stay_the_same(photo_folder):
    photos = Photos.below(photo_folder, min_side=32, cache_bytes=0)
    one, other = (list(validation_pairs(photos, scale=4, degradation="photo")) for _ in range(2))
    assert len(one) == len(photos)
    assert all(map(same, one, other))
    assert all(pair.hr.shape[-1] == 4 * pair.lr.shape[-1] <= 256 for pair in one)
