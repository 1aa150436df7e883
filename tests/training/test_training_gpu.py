"""Training on a GPU: in every precision, compiled, and interrupted without a trace."""

from dataclasses import replace

import pytest
import torch

from sr_cli.errors import DeviceError
from sr_cli.training.loop import train
from sr_cli.training.trainer import Trainer
from support.trainings import CPU, TINY, digest, photos_in

pytestmark = pytest.mark.gpu

JOHNSON = {"arch": "johnson", "width": None, "depth": None, "loss": "johnson", "crop_size": 64}
PERCEPTUAL = {"loss": "perceptual", "optimizer": "muon", "clip": 0.1, "self_ensemble_weight": 0.1, "crop_size": 48}


@pytest.fixture(autouse=True)
def restored_settings():
    """What a training sets for its process."""
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(False)


def trained(folder, run, vgg_state, device, *, stop_after=None, resume=False, **changes):
    config = replace(TINY, **{"workers": 2, **changes})
    steps = train(config, photos_in(folder, config), device, run=run, vgg_state=vgg_state, resume=resume)
    if stop_after is None:
        return list(steps)
    first = [next(steps) for _ in range(stop_after)]
    steps.close()
    return first


@pytest.mark.parametrize("settings", [PERCEPTUAL, JOHNSON], ids=["compact", "johnson"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_precision_trains(settings, precision, photo_folder, tmp_path, vgg_state, gpu):
    """The first loss is that of the CPU, up to rounding (TF32 in float32), and the last is smaller."""
    many = {"steps": 40, "batch_size": 4, "validate_every": 40, "lr": 2e-3, "precision": precision}
    steps = trained(photo_folder, tmp_path / "gpu", vgg_state, gpu, **settings, **many)
    on_cpu = trained(photo_folder, tmp_path / "cpu", vgg_state, CPU, stop_after=1, **settings, batch_size=4)
    first = [sum(step.losses.values()) for step in (steps[0], on_cpu[0])]
    assert first[0] == pytest.approx(first[1], rel=0.05)
    means = [sum(sum(step.losses.values()) for step in part) / 8 for part in (steps[:8], steps[-8:])]
    assert means[1] < means[0]
    assert steps[-1].energy.device == torch.cuda.get_device_name(gpu)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("settings", [PERCEPTUAL, JOHNSON], ids=["compact", "johnson"])
def test_an_interrupted_training_is_the_same_bit_for_bit(settings, precision, photo_folder, tmp_path, vgg_state, gpu):
    settings = {**settings, "deterministic": True, "precision": precision, "steps": 10}
    whole = trained(photo_folder, tmp_path / "whole", vgg_state, gpu, **settings)
    trained(photo_folder, tmp_path / "part", vgg_state, gpu, stop_after=5, save_minutes=1e-6, **settings)
    rest = trained(photo_folder, tmp_path / "part", vgg_state, gpu, resume=True, **settings)
    assert rest[0].step > 1
    assert [(step.step, step.losses) for step in rest] == [(s.step, s.losses) for s in whole[rest[0].step - 1 :]]
    for name in ("model.safetensors", "best.safetensors"):
        assert digest(tmp_path / "part" / name) == digest(tmp_path / "whole" / name)


@pytest.mark.parametrize("settings", [PERCEPTUAL, JOHNSON], ids=["compact", "johnson"])
def test_a_compiled_training_is_that_of_the_plain_form(settings, photo_folder, tmp_path, vgg_state, gpu):
    plain, compiled = (
        trained(photo_folder, tmp_path / str(on), vgg_state, gpu, **settings, precision="bfloat16", compile=on)
        for on in (False, True)
    )
    for name, value in plain[0].losses.items():
        assert compiled[0].losses[name] == pytest.approx(value, rel=0.05, abs=1e-4)
    totals = [sum(steps[-1].losses.values()) for steps in (plain, compiled)]
    assert totals[1] == pytest.approx(totals[0], rel=0.2)


def test_patches_that_do_not_fit_are_an_error_with_a_remedy(photo_folder, tmp_path, gpu):
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(gpu).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(gpu) + (16 << 20)) / total, gpu)
        with pytest.raises(DeviceError, match=r"cuda:0: not enough memory for 64 patches .* smaller --batch-size"):
            trained(photo_folder, tmp_path / "run", None, gpu, batch_size=64, width=256, crop_size=80)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)


def test_a_moving_average_is_that_of_the_cpu(gpu):
    config = replace(TINY, ema=0.9)
    weights = []
    for device in (CPU, gpu):
        trainer = Trainer(config, device)
        for _ in range(3):
            with torch.no_grad():
                for parameter in trainer.network.parameters():
                    parameter.add_(0.5)
            trainer.averaged.update_parameters(trainer.network)
        weights.append([value.cpu() for value in trainer.result.state_dict().values()])
    for mine, other in zip(*weights, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)
