"""Fine-tuning the network of another project's file."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from sr_cli.config import recipe
from sr_cli.errors import UsageError
from sr_cli.networks.third_party import ThirdPartyNetwork
from sr_cli.training.loop import train
from sr_cli.training.trainer import Trainer
from sr_cli.upscaling.upscaler import Upscaler
from support.other_projects import network as other_network
from support.trainings import CPU, digest, photos_in, sr_train

CONFIG = replace(
    recipe("third-party", scale=2), crop_size=64, batch_size=2, epochs=None, steps=4, lr=1e-3, ema=0.9,
    validation_photos=1, validate_every=2, samples=1, log_every=1, save_minutes=1e-6,
)  # fmt: skip


NETWORKS = {
    "Compact": lambda: other_network("Compact", num_feat=8, num_conv=2, upscale=2),
    "ESRGAN": lambda: other_network("ESRGAN", num_filters=8, num_blocks=1, scale=2),
    "SPAN": lambda: other_network("SPAN", num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
    "SwinIR": lambda: other_network("SwinIR",
        img_size=16, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=8, upscale=2,
        upsampler="pixelshuffledirect", mlp_ratio=2,
    ),
}  # fmt: skip


@pytest.fixture
def file_of(tmp_path):
    """Writes a small network of an architecture, as its own project would."""

    def write(name):
        torch.manual_seed(0)
        torch.save({"params": NETWORKS[name]().state_dict()}, tmp_path / f"{name}.pth")
        return tmp_path / f"{name}.pth"

    return write


@pytest.mark.parametrize("name", ["Compact", "ESRGAN", "SPAN", "SwinIR"])
@pytest.mark.slow
def test_any_architecture_learns_and_its_file_loads_where_its_own_do(photo_folder, tmp_path, file_of, name):
    init = file_of(name)
    steps = list(train(CONFIG, photos_in(photo_folder, CONFIG), CPU, run=tmp_path / "run", init=init))
    assert len(steps) == 4
    weights = tmp_path / "run/model.safetensors"
    before, after = ThirdPartyNetwork.from_file(init).model.state_dict(), load_file(weights)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    import spandrel

    own = spandrel.ModelLoader().load_from_file(weights)
    assert own.architecture.name == ThirdPartyNetwork.from_file(init).descriptor.architecture.name
    lr = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(Upscaler.from_pretrained(weights).upscale_tensor(lr), own(lr).clamp(0, 1))


@pytest.mark.slow
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(photo_folder, tmp_path, file_of):
    photos, init = photos_in(photo_folder, CONFIG), file_of("Compact")
    whole = list(train(CONFIG, photos, CPU, run=tmp_path / "whole", init=init))
    training = train(CONFIG, photos, CPU, run=tmp_path / "part", init=init)
    first = [next(training) for _ in range(2)]
    training.close()
    init.unlink()
    second = list(train(CONFIG, photos, CPU, run=tmp_path / "part", resume=True))
    assert [step.losses for step in [*first, *second]] == [step.losses for step in whole]
    assert digest(tmp_path / "part/model.safetensors") == digest(tmp_path / "whole/model.safetensors")


def test_batch_normalization_and_dropout_stay_off():
    class Descriptor:
        scale, supports_half, input_channels, architecture = 2, True, 3, SimpleNamespace(id="")
        model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(), torch.nn.Conv2d(3, 12, 1))

    network = ThirdPartyNetwork(Descriptor()).train()  # type: ignore[arg-type]
    assert [module.training for module in network.model] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("SwinIR", {"crop_size": 24}, "LR patches of 12 pixels; use --crop-size 32"),
        ("Compact", {"scale": 4}, "is for scale 2, not 4"),
        (None, {}, "needs --init"),
    ],
)
def test_what_cannot_be_is_refused(file_of, name, changes, complaint):
    with pytest.raises(UsageError, match=complaint):
        Trainer(replace(CONFIG, **changes), CPU, init=name and file_of(name))


@pytest.mark.slow
def test_the_command_takes_the_architecture_and_the_scale_from_the_file(photo_folder, tmp_path, file_of):
    options = ["--crop-size", 64, "--batch-size", 2, "--steps", 1, "--device", "cpu", "--name", "tuned"]
    done = sr_train(photo_folder, "--init", file_of("Compact"), *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "third-party x2" in done.stderr
