import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sr_cli import Upscaler
from sr_cli.config import TrainConfig, recipe
from sr_cli.errors import DeviceError, ImageError, TrainingError, UsageError
from sr_cli.losses.pixel import L1Loss
from sr_cli.networks.checkpoint import load_network, read_header, save_network
from sr_cli.networks.registry import build
from sr_cli.training.loop import train
from sr_cli.training.run_folder import load_state
from sr_cli.training.schedule import ends_epoch, fraction_done, learning_rate
from sr_cli.training.state import Progress, Stop
from sr_cli.training.trainer import Trainer, sharpened
from sr_cli.training.validation import validation_count
from support.distributed_parts import batch_for
from support.trainings import CPU, TINY, digest, photos_in, record, rows, trained


def test_a_run_holds_what_it_should(photo_folder, tmp_path):
    steps = trained(photo_folder, tmp_path / "run")
    run = tmp_path / "run"
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[-1].fraction == 1 and steps[-1].energy is not None
    names = {"config.json", "metrics.csv", "validation.csv", "energy.json", "last.pt", "report.html"}
    names |= {"model.safetensors", "best.safetensors"}
    assert names <= {path.name for path in run.iterdir()}
    assert [int(row["step"]) for row in rows(run / "metrics.csv")] == [2, 4, 6]
    assert [int(row["step"]) for row in rows(run / "validation.csv")] == [4, 6]
    mean = (steps[0].losses["pixel_l1"] + steps[1].losses["pixel_l1"]) / 2
    assert float(rows(run / "metrics.csv")[0]["pixel_l1"]) == pytest.approx(mean, rel=1e-6)
    header = read_header(run / "model.safetensors")
    assert header["architecture"]["name"] == "compact" and header["training"]["steps_done"] == 6


def test_a_sample_shows_lr_bicubic_sr_hr(photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "run")
    with Image.open(tmp_path / "run/samples/step-00000006.png") as sheet:
        width = (sheet.width + 4) // 4
        pictures = [np.asarray(sheet.crop((i * width, 0, (i + 1) * width - 4, sheet.height))) for i in range(4)]
    lr, bicubic, sr, hr = (picture.astype(float) for picture in pictures)
    assert (lr[0::2, 0::2] == lr[1::2, 1::2]).all(), "LR is shown by repeated pixels"
    assert np.abs(bicubic - hr).mean() < np.abs(lr - hr).mean()
    assert np.abs(sr - hr).mean() < 40 and (sr != bicubic).any()


def test_sharpened_hr_has_the_same_tones_and_steeper_edges():
    hr = torch.full((1, 3, 40, 40), 0.3)
    hr[..., 20:] = 0.6
    sharp = sharpened(hr, 0.5)
    torch.testing.assert_close(sharp[..., [0, -1]], hr[..., [0, -1]])
    assert sharp[0, 0, 9, 20] - sharp[0, 0, 9, 19] > 0.4 and sharp.mean() == pytest.approx(0.45)
    assert sharpened(hr[:0], 0.5).shape == (0, 3, 40, 40)


def test_a_training_can_be_towards_sharpened_hr(photo_folder):
    config = replace(TINY, loss="pixel:l1=1", sharpen_hr=0.5)
    batch = batch_for(config, photo_folder.parent)
    trainer = Trainer(config, CPU)
    trainer.network.forward = lambda _: sharpened(batch.hr, 0.5).requires_grad_()
    assert trainer.learn(batch) == {"pixel_l1": 0}


def test_best_is_by_validation(photo_folder, tmp_path):
    steps = trained(photo_folder, tmp_path / "run", lr=0.3, validate_every=1, steps=5, ema=0.0)
    values = [step.validation["psnr"] for step in steps]
    assert [step.best for step in steps] == [v > max([-math.inf, *values[:i]]) for i, v in enumerate(values)]
    best = read_header(tmp_path / "run/best.safetensors")
    assert best["training"]["steps_done"] == 1 + values.index(max(values))
    assert best["validation_psnr"] == max(values)
    assert steps[-1].best_yet == (max(values), 1 + values.index(max(values)))


@pytest.mark.slow
def test_any_measure_can_pick_the_best(photo_folder, tmp_path):
    changes = {"lr": 0.3, "validate_every": 1, "ema": 0.0, "best": "gmsd"}
    steps = trained(photo_folder, tmp_path / "run", steps=5, **changes)
    values = [step.validation["gmsd"] for step in steps]
    assert [step.best for step in steps] == [v < min([math.inf, *values[:i]]) for i, v in enumerate(values)]
    best = read_header(tmp_path / "run/best.safetensors")
    assert best["training"]["steps_done"] == 1 + values.index(min(values))
    assert [float(row["gmsd"]) for row in rows(tmp_path / "run/validation.csv")] == pytest.approx(values, rel=1e-5)
    assert "validation, GMSD ↓" in (tmp_path / "run/report.html").read_text()

    trained(photo_folder, tmp_path / "part", steps=2, **changes)
    resumed = trained(photo_folder, tmp_path / "part", steps=5, resume=True, **changes)
    assert resumed[-1].best_yet == steps[-1].best_yet
    for name in ("best.safetensors", "model.safetensors"):
        assert digest(tmp_path / "part" / name) == digest(tmp_path / "run" / name)
    assert (tmp_path / "part/validation.csv").read_text() == (tmp_path / "run/validation.csv").read_text()


@pytest.mark.parametrize(
    ("best", "complaint"),
    [
        ("beauty", "--best beauty: unknown; choose psnr, ssim"),
        ("niqe", r"--best niqe: .*photo\d.* has no value for it .*--validation-side"),
        ("dists", "--best dists: .*vgg16"),
    ],
)
def test_a_measure_that_cannot_pick_the_best_is_refused(best, complaint, photo_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(UsageError, match=complaint):
        trained(photo_folder, tmp_path / "run", best=best)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_naturalness_picks_the_best_of_large_photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        pixels = rng.integers(256, size=(500, 1000, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (step,) = trained(folder, tmp_path / "run", best="niqe", validation_side=1024, steps=1)
    assert step.best and step.validation["niqe"] > 0
    with Image.open(tmp_path / "run/samples/step-00000001.png") as sheet:
        assert sheet.size == (4 * 260 - 4, 256), "samples are of a size that a page can hold"


def test_patience_ends_a_training(photo_folder, tmp_path):
    steps = trained(photo_folder, tmp_path / "run", lr=3.0, validate_every=1, patience=2, steps=50, ema=0.0)
    assert len(steps) < 50
    assert [step.best for step in steps[-2:]] == [False, False]
    assert load_state(tmp_path / "run/last.pt")["step"] == steps[-1].step


def test_stop_saves_after_the_step(photo_folder, tmp_path):
    stop = Stop()
    seen = []
    for step in train(TINY, photos_in(photo_folder), CPU, run=tmp_path / "run", stop=stop):
        seen.append(step.step)
        stop.wanted = step.step == 2
    assert seen == [1, 2, 3]
    assert load_state(tmp_path / "run/last.pt")["step"] == 3


@pytest.mark.parametrize("at", [3, 4, 6])
@pytest.mark.slow
def test_a_stop_leaves_no_trace_in_a_resumed_run(at, photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "whole", patience=9)
    stop = Stop()
    for step in train(replace(TINY, patience=9), photos_in(photo_folder), CPU, run=tmp_path / "part", stop=stop):
        stop.wanted = step.step == at - 1
    assert step.step == at
    trained(photo_folder, tmp_path / "part", patience=9, resume=True)
    assert record(tmp_path / "part") == record(tmp_path / "whole")


@pytest.mark.slow
def test_a_stop_in_the_step_that_exhausts_patience_ends_the_training(photo_folder, tmp_path):
    settings = {"lr": 3.0, "validate_every": 1, "patience": 1, "steps": 50, "ema": 0.0}
    last = trained(photo_folder, tmp_path / "whole", **settings)[-1].step
    stop = Stop()
    for step in train(replace(TINY, **settings), photos_in(photo_folder), CPU, run=tmp_path / "part", stop=stop):
        stop.wanted = step.step == last - 1
    assert trained(photo_folder, tmp_path / "part", resume=True, **settings) == []
    assert record(tmp_path / "part") == record(tmp_path / "whole")


@pytest.mark.parametrize(("optimizer", "weight"), [("adam", 0.1), pytest.param("muon", 0.0, marks=pytest.mark.slow)])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(photo_folder, tmp_path, optimizer, weight):
    settings = {
        "optimizer": optimizer,
        "self_ensemble_weight": weight,
        "schedule": "cosine",
        "warmup": 2,
        "clip": 0.1,
        "degradation": "photo",
    }
    whole = trained(photo_folder, tmp_path / "whole", **settings)
    training = train(
        TrainConfig(**{**vars(TINY), **settings, "save_minutes": 1e-6}),
        photos_in(photo_folder),
        CPU,
        run=tmp_path / "part",
    )
    first = [next(training) for _ in range(3)]
    training.close()
    second = trained(photo_folder, tmp_path / "part", resume=True, **settings)
    assert [(s.step, s.losses, s.lr) for s in [*first, *second]] == [(s.step, s.losses, s.lr) for s in whole]
    assert digest(tmp_path / "part/model.safetensors") == digest(tmp_path / "whole/model.safetensors")
    columns = ("step", "epoch", "pixel_l1", "lr")
    assert [[row[c] for c in columns] for row in rows(tmp_path / "part/metrics.csv")] == [
        [row[c] for c in columns] for row in rows(tmp_path / "whole/metrics.csv")
    ]


@pytest.mark.slow
def test_the_seed_decides_everything(photo_folder, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        trained(photo_folder, tmp_path / name, seed=seed)
    a, b, c = (digest(tmp_path / name / "model.safetensors") for name in "abc")
    assert a == b != c


def test_the_last_states_are_kept(photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "run", save_minutes=1e-6, keep=3)
    earlier = sorted(path.name for path in (tmp_path / "run/earlier").iterdir())
    assert earlier == ["step-00000004.pt", "step-00000005.pt"]
    assert load_state(tmp_path / "run/earlier/step-00000004.pt")["step"] == 4
    assert load_state(tmp_path / "run/last.pt")["step"] == 6


def test_a_damaged_state_names_the_one_before(photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "run", save_minutes=1e-6)
    last = tmp_path / "run/last.pt"
    whole, incomplete = last.read_bytes(), io.BytesIO()
    torch.save({name: value for name, value in load_state(last).items() if name != "trainer"}, incomplete)
    for damaged in (whole[:1000], incomplete.getvalue()):
        last.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"cp \S*step-00000005\.pt"):
            trained(photo_folder, tmp_path / "run", resume=True)


def test_a_run_that_exists_is_refused(photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "run", steps=1)
    before = (tmp_path / "run/last.pt").read_bytes()
    with pytest.raises(TrainingError, match="--resume"):
        trained(photo_folder, tmp_path / "run", steps=1)
    assert (tmp_path / "run/last.pt").read_bytes() == before


@pytest.mark.slow
def test_two_processes_cannot_write_one_run(photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "run", steps=1)
    training = train(TINY, photos_in(photo_folder), CPU, run=tmp_path / "run", resume=True)
    next(training)
    with pytest.raises(TrainingError, match="another process"):
        trained(photo_folder, tmp_path / "run", resume=True)
    training.close()


@pytest.fixture
def poisoned(monkeypatch):
    """Makes the pixel loss NaN whenever it is computed for the n-th time, n in a set."""

    def at(*calls):
        healthy, count = L1Loss.forward, iter(range(1, 1000))
        monkeypatch.setattr(
            L1Loss, "forward", lambda self, sr, hr: healthy(self, sr, hr) * (math.nan if next(count) in calls else 1)
        )

    return at


def test_a_loss_that_is_not_finite_stops_at_once_and_names_the_photos(photo_folder, tmp_path, poisoned):
    poisoned(4)
    with pytest.raises(TrainingError, match=r"pixel_l1 loss is nan at step 4; the batch came from .*photo\d") as caught:
        trained(photo_folder, tmp_path / "run", save_minutes=1e-6)
    assert len(re.findall(r"photo\d", str(caught.value))) == TINY.batch_size
    state = load_state(tmp_path / "run/last.pt")
    assert state["step"] == 3
    assert all(tensor.isfinite().all() for tensor in state["trainer"]["network"].values())
    assert [step.step for step in trained(photo_folder, tmp_path / "run", resume=True)] == [4, 5, 6]


def test_rollback_goes_back_and_halves_the_learning_rate(photo_folder, tmp_path, poisoned, monkeypatch):
    monkeypatch.setattr("sr_cli.training.recorder.SAVING_SHARE", 0)  # no state but the first
    poisoned(4)
    training = trained(photo_folder, tmp_path / "run", on_nan="rollback", save_minutes=1e6, schedule="constant")
    assert [step.step for step in training] == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    assert [step.lr / TINY.lr for step in training] == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    (remark,) = [remark for step in training for remark in step.remarks]
    assert "nan" in remark and "rolled back to step 0" in remark
    assert [int(row["step"]) for row in rows(tmp_path / "run/metrics.csv")] == [2, 4, 6]


@pytest.mark.slow
def test_a_second_rollback_from_the_same_state_goes_further_back(photo_folder, tmp_path, poisoned):
    poisoned(4, 5)
    training = trained(photo_folder, tmp_path / "run", on_nan="rollback", save_minutes=1e-6, schedule="constant")
    assert [step.step for step in training] == [1, 2, 3, 3, 4, 5, 6]
    assert [step.lr / TINY.lr for step in training] == [1, 1, 1, 0.25, 0.25, 0.25, 0.25]
    assert load_state(tmp_path / "run/last.pt")["progress"]["rollbacks"] == 2


def test_rollback_gives_up_in_the_end(photo_folder, tmp_path, poisoned):
    poisoned(*range(2, 1000))
    with pytest.raises(TrainingError, match=r"gave up .*--resume .*run"):
        trained(photo_folder, tmp_path / "run", on_nan="rollback")


def test_a_gradient_that_is_not_finite_changes_nothing(photo_folder, tmp_path, monkeypatch):
    class Infinite(torch.autograd.Function):
        @staticmethod
        def forward(_, value):
            return value.clone()

        @staticmethod
        def backward(_, gradient):
            return gradient * math.inf

    healthy = L1Loss.forward
    monkeypatch.setattr(L1Loss, "forward", lambda self, sr, hr: Infinite.apply(healthy(self, sr, hr)))
    with pytest.raises(TrainingError, match=r"gradient's norm is .* at step 1"):
        trained(photo_folder, tmp_path / "run")
    network, _ = load_network(tmp_path / "run/model.safetensors")
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_too_little_memory_is_an_error_with_a_remedy(photo_folder, tmp_path, monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(L1Loss, "forward", exhausted)
    with pytest.raises(DeviceError, match="2 patches of 32 pixels; use a smaller --batch-size"):
        trained(photo_folder, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"width": 4096, "depth": 1024}, "compact of 15.* parameters: .* smaller --width"),
        ({"batch_size": 2**16, "crop_size": 2**16}, "batches of 65536 patches .* smaller --batch-size"),
    ],
    ids=["network", "batch"],
)
@pytest.mark.slow
def test_what_no_machine_holds_is_refused_before_it_is_made(changes, complaint):
    with pytest.raises(DeviceError, match=complaint):
        Trainer(replace(TINY, **changes), CPU)


def test_a_run_without_a_step_gives_way(photo_folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(L1Loss, "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trained(photo_folder, tmp_path / "run", width=16)
    assert load_state(tmp_path / "run/last.pt")["step"] == 0
    assert trained(photo_folder, tmp_path / "run")[-1].step == 6
    assert read_header(tmp_path / "run/model.safetensors")["architecture"]["width"] == 8


def test_a_vanished_photo_leaves_a_state_to_go_on_from(photo_folder, tmp_path):
    folder = photo_folder.rename(tmp_path / "elsewhere")
    training = train(TINY, photos_in(folder), CPU, run=tmp_path / "run")
    next(training)
    folder.rename(photo_folder)
    with pytest.raises(ImageError, match=r"photo\d.*--resume"):
        list(training)
    step = load_state(tmp_path / "run/last.pt")["step"]
    assert step >= 1
    assert [s.step for s in trained(photo_folder, tmp_path / "run", resume=True)] == list(range(step + 1, 7))


def test_damaged_photos_are_remarked_once(photo_folder, tmp_path):
    content = (photo_folder / "photo2.jpg").read_bytes()
    for i in (1, 2, 3):
        path = photo_folder / f"photo{i}.{'png' if i % 2 else 'jpg'}"
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    steps = trained(photo_folder, tmp_path / "run", steps=9)
    remarks = [remark for step in steps for remark in step.remarks]
    assert len(remarks) == 3 and len({remark.split(":")[0] for remark in remarks}) == 3


def test_other_weights_to_start_from(weights_of):
    other = weights_of(name="compact", scale=2, width=8, depth=1)
    trainer = Trainer(TINY, CPU, init=other)
    expected = load_network(other)[0].state_dict()
    for key, tensor in trainer.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=0)
    with pytest.raises(TrainingError, match="compact x2, width 4, depth 1, not of compact x2, width 8"):
        Trainer(TINY, CPU, init=weights_of(name="compact", scale=2, width=4, depth=1))


def test_weights_of_another_scale_give_all_but_the_upsampling(weights_of):
    other = weights_of(name="compact", scale=4, width=8, depth=1)
    theirs = load_network(other)[0].state_dict()
    own = Trainer(TINY, CPU, init=other).network.state_dict()
    fresh = Trainer(TINY, CPU).network.state_dict()
    for key in own:
        expected = fresh if key.startswith("tail.") else theirs
        torch.testing.assert_close(own[key], expected[key], rtol=0, atol=0)


def test_a_shallower_network_to_start_from(weights_of):
    other = weights_of(name="compact", scale=2, width=8, depth=1)
    theirs = load_network(other)[0].state_dict()
    deeper = replace(TINY, depth=3)
    own, fresh = (Trainer(deeper, CPU, init=init).network.state_dict() for init in (other, None))
    for key in own:
        torch.testing.assert_close(own[key], theirs.get(key, fresh[key]), rtol=0, atol=0)
    with pytest.raises(TrainingError, match="compact"):
        Trainer(TINY, CPU, init=weights_of(name="compact", scale=2, width=8, depth=2))


def test_a_patch_of_one_cell_holds_no_pair_of_cells(photo_folder, tmp_path):
    loss = "pixel:l1+checkerboard:pair"
    with pytest.raises(UsageError, match="patches of 4 pixels"):
        Trainer(replace(TINY, loss=loss, crop_size=2), CPU)
    assert trained(photo_folder, tmp_path / "run", loss=loss, crop_size=6)[-1].step == 6


@pytest.mark.parametrize("batch_norm", ["batch", "frozen"])
@pytest.mark.slow
def test_statistics_of_batch_normalization(photo_folder, tmp_path, batch_norm):
    """Frozen ones stay what they were, validations in between or not, and everything else learns."""
    config = replace(recipe("johnson"), scale=2, crop_size=32, batch_size=2, loss="pixel", validation_photos=1)
    before = Trainer(replace(config, batch_norm=batch_norm), CPU).network.state_dict()
    changes = {
        "epochs": None,
        "steps": 3,
        "validate_every": 1,
        "batch_norm": batch_norm,
        "ema": 0.0,
        "save_minutes": 60.0,
    }
    list(train(replace(config, **changes), photos_in(photo_folder, config), CPU, run=tmp_path / "run"))
    after = load_network(tmp_path / "run/model.safetensors")[0].state_dict()
    moved = {key.rpartition(".")[2] for key in before if not torch.equal(before[key], after[key])}
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    assert moved == {"weight", "bias"} | (statistics if batch_norm == "batch" else set())


@pytest.mark.slow
def test_bfloat16_learns_nearly_the_same(photo_folder, tmp_path):
    full, half = (
        trained(photo_folder, tmp_path / precision, precision=precision)[-1].losses["pixel_l1"]
        for precision in ("float32", "bfloat16")
    )
    assert half != full and half == pytest.approx(full, rel=0.05)
    weights = load_state(tmp_path / "bfloat16/last.pt")["trainer"]["network"]
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.slow
def test_learning_goes_somewhere(photo_folder, tmp_path):
    steps = trained(photo_folder, tmp_path / "run", steps=60, lr=3e-3, validate_every=30)
    validations = [step.validation["psnr"] for step in steps if step.validation is not None]
    assert validations[-1] > validations[0]
    losses = [step.losses["pixel_l1"] for step in steps]
    assert np.mean(losses[-12:]) < np.mean(losses[:12])


@pytest.mark.slow
def test_the_self_ensemble_loss_brings_results_for_flipped_and_rotated_images_together(photo_folder, tmp_path, photo):
    torch.manual_seed(0)
    lopsided = build(name="compact", scale=2, width=8, depth=1)
    torch.nn.init.normal_(lopsided.tail.weight, std=0.05)
    save_network(tmp_path / "init.safetensors", lopsided, about={})
    apart = []
    for weight in (0.0, 30.0):
        config = replace(
            TINY, steps=100, lr=1e-2, schedule="cosine", self_ensemble_weight=weight, validate_every=100, samples=0
        )
        run = tmp_path / str(weight)
        steps = list(train(config, photos_in(photo_folder), CPU, run=run, init=tmp_path / "init.safetensors"))
        assert ("self_ensemble" in steps[-1].losses) == bool(weight)
        one, mean = (
            Upscaler.from_pretrained(run / "model.safetensors", ensemble=ensemble, dtype="float32").upscale_tensor(
                photo
            )
            for ensemble in (False, True)
        )
        apart.append(float((one - mean).abs().mean()))
    assert apart[1] < 0.8 * apart[0]
    with pytest.raises(ValueError, match="ema"):
        replace(TINY, self_ensemble_weight=1.0, ema=0.0)


def test_the_learning_rate_rises_stays_and_falls():
    config = TrainConfig(arch="compact", crop_size=32, lr=1.0, warmup=3, schedule="cosine")
    assert [learning_rate(config, step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert learning_rate(config, 50, 0.5) == pytest.approx(0.5)
    assert learning_rate(config, 100, 1.0) == pytest.approx(0)
    constant = TrainConfig(arch="compact", crop_size=32, lr=1.0)
    assert {learning_rate(constant, step, fraction) for step in (0, 9) for fraction in (0.0, 0.9)} == {1.0}


def test_the_first_limit_ends_it():
    config = TrainConfig(arch="compact", crop_size=32, batch_size=4, steps=100, epochs=2.0, hours=1.0)
    assert fraction_done(config, Progress(step=50), photos=1000) == 0.5
    assert fraction_done(config, Progress(step=50, elapsed=3600), photos=1000) == 1
    assert fraction_done(config, Progress(step=50), photos=100) == 1


def test_every_epoch_ends_once():
    config = TrainConfig(arch="compact", crop_size=32, batch_size=4)
    ends = [step for step in range(1, 31) if ends_epoch(config, step, photos=10)]
    assert len(ends) == 30 * 4 // 10
    assert all(math.floor(4 * step / 10) > math.floor(4 * (step - 1) / 10) for step in ends)


@pytest.mark.parametrize(("photos", "kept"), [(1, 0), (4, 0), (10, 1), (100, 5), (800, 16), (100_000, 16)])
def test_a_twentieth_is_held_out(photos, kept):
    assert validation_count(TrainConfig(), photos) == kept


@pytest.mark.slow
def test_a_run_on_real_degradations_goes_on_bit_for_bit(photo_folder, tmp_path):
    trained(photo_folder, tmp_path / "whole", degradation="real", steps=6)
    trained(photo_folder, tmp_path / "stopped", degradation="real", steps=3)
    trained(photo_folder, tmp_path / "stopped", degradation="real", steps=6, resume=True)
    assert digest(tmp_path / "stopped/model.safetensors") == digest(tmp_path / "whole/model.safetensors")
