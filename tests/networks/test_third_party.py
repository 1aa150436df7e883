"""Files of other projects: what is read, what is refused and called by its name, and 1 and 4 channels."""

import argparse
import io
import os
import resource
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sr_cli.errors import WeightsError
from sr_cli.imageops.color import full_range_luma
from sr_cli.images import Picture
from sr_cli.networks.third_party import ThirdPartyNetwork
from sr_cli.system.device import has_fast_bfloat16
from sr_cli.upscaling.upscaler import Upscaler
from support.other_projects import network as other_network
from support.pictures import gradient


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return other_network("Compact", num_feat=8, num_conv=2, upscale=2).eval()


def picture_of(height, width, *, channels=3, alpha=False, dtype=np.uint8):
    pixels = gradient(height, width, channels=channels + alpha, dtype=dtype)
    return Picture(color=pixels[..., :channels], alpha=pixels[..., channels] if alpha else None)


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def assert_same(path, network):
    lr = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(ThirdPartyNetwork.from_file(path)(lr), network(lr).clamp(0, 1))


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "generator.", "params_ema.", "params.", "net_g.module.", "state_dict.model."]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_prefixes_that_training_leaves_are_taken_off(network, tmp_path, prefix, suffix):
    path = tmp_path / f"wrapped{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(prefixed(network.state_dict(), prefix), path)
    assert_same(path, network)


def test_the_average_is_preferred_and_a_discriminator_ignored(network, tmp_path):
    other = other_network("Compact", num_feat=8, num_conv=2, upscale=2).state_dict()
    average = network.state_dict()
    save_file(prefixed(other, "params.") | prefixed(average, "params_ema."), tmp_path / "both.safetensors")
    assert_same(tmp_path / "both.safetensors", network)
    torch.save({"params": other, "params_ema": average, "iter": 5}, tmp_path / "nested.pth")
    assert_same(tmp_path / "nested.pth", network)
    discriminator = prefixed({"conv.weight": torch.rand(3, 3)}, "discriminator.")
    checkpoint = {
        "state_dict": discriminator | prefixed(average, "generator."),
        "hyper_parameters": argparse.Namespace(lr=np.float64(1e-4), steps=np.int64(3)),
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1)}}}],
    }
    torch.save(checkpoint, tmp_path / "lightning.ckpt")
    assert_same(tmp_path / "lightning.ckpt", network)


def test_content_decides_not_the_suffix(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "really-safetensors.pth")
    assert_same(tmp_path / "really-safetensors.pth", network)
    torch.save(network.state_dict(), tmp_path / "really-zip.safetensors")
    assert_same(tmp_path / "really-zip.safetensors", network)
    torch.save(network.state_dict(), tmp_path / "legacy.ckpt", _use_new_zipfile_serialization=False)
    assert_same(tmp_path / "legacy.ckpt", network)
    assert Upscaler.from_pretrained(tmp_path / "really-zip.safetensors").scale == 2


def zip_of(**contents):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name.replace("_", "."), content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "meaning"),
    [
        (b"<!doctype html><html>404</html>", "an HTML page"),
        (b"\n\n<html><body>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "a Git LFS pointer"),
        (b'{"error": "not found"}', "JSON"),
        (b"7767517\n75 83\n", "ncnn"),
        (b"hello", "text, not weights"),
        (b"", "empty"),
        (bytes(range(1, 200)), "not weights, or damaged"),
        (zip_of(model_pth=b"x"), "a zip archive: unpack it first"),
        (zip_of(data_pkl=bytes(10**6)), "unpacks to more than twice its size"),
        (b"PK\x03\x04 and no more", "a damaged archive"),
        (b"\x80\x02}q\x00X", "damaged, or not complete"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_not_weights_is_called_by_its_name(tmp_path, content, meaning, suffix):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=meaning) as raised:
        Upscaler.from_pretrained(path)
    assert "\n" not in str(raised.value) and "weights_only" not in str(raised.value)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "pickled", [Bomb, lambda: other_network("Compact", num_feat=8, num_conv=1, upscale=2), lambda: {"params": Bomb()}]
)
def test_code_is_refused_by_name_and_never_run(tmp_path, monkeypatch, pickled, legacy):
    monkeypatch.chdir(tmp_path)
    torch.save(pickled(), "code.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"code\.pth: holds code \(\w[\w.]+\): refused") as raised:
        Upscaler.from_pretrained("code.pth")
    assert "weights_only" not in str(raised.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused_as_code(network, tmp_path):
    torch.jit.save(torch.jit.trace(network, torch.rand(1, 3, 8, 8)), tmp_path / "script.pt")
    with pytest.raises(WeightsError, match="TorchScript program, which holds code"):
        Upscaler.from_pretrained(tmp_path / "script.pt")


def test_half_of_a_download_is_damaged(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "part.pth")
    (tmp_path / "part.pth").write_bytes((tmp_path / "part.pth").read_bytes()[:3000])
    with pytest.raises(WeightsError, match="damaged archive, or part of one"):
        Upscaler.from_pretrained(tmp_path / "part.pth")


def test_a_torchvision_for_another_pytorch_is_one_line(network, tmp_path, monkeypatch):
    torch.save(network.state_dict(), tmp_path / "sound.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(WeightsError, match=r"sound\.pth: the package spandrel cannot be imported \("):
        ThirdPartyNetwork.from_file(tmp_path / "sound.pth")


def claims(**changes):
    """A sound state, and tensors of any shape and next to no bytes in the file."""
    state = other_network("Compact", num_feat=8, num_conv=2, upscale=2).state_dict()
    return state | {key.replace("_", "."): torch.zeros(1).expand(shape) for key, shape in changes.items()}


SWIN = {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 4, "upscale": 2, "upsampler": "pixelshuffle"}


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        (lambda: claims(body_0_weight=(10**6, 3, 3, 3)), "a network far larger than the file"),
        (lambda: claims(body_0_weight=(30_000, 3, 3, 3)), "a network far larger than the file"),
        (
            lambda: claims(body_100000000_weight=(12, 8, 3, 3), body_100000000_bias=(12,)),
            "a network far larger than the file",
        ),
        # A window of 200², whose table of positions would take 12.8 GB.
        (
            lambda: (
                other_network("SwinIR", **SWIN).state_dict()
                | {
                    f"layers.0.residual_group.blocks.{index}.attn.{name}": torch.zeros(1).expand(shape)
                    for index in range(2)
                    for name, shape in (
                        ("relative_position_bias_table", (399**2, 2)),
                        ("relative_position_index", [40_000] * 2),
                    )
                }
            ),
            "a network far larger than the file",
        ),
        (lambda: dict.fromkeys(map(str, range(20_001)), torch.zeros(1)), "20,001 tensors, more than any network"),
        (lambda: claims(body_0_weight=(0, 3, 3, 3)), "is empty|don't fit"),
        (lambda: claims() | {"body.2.bias": torch.full((8,), torch.nan)}, "body.2.bias has values that are not finite"),
        (lambda: claims() | {"body.2.bias": torch.full((8,), torch.inf)}, "body.2.bias has values that are not finite"),
    ],
)
def test_absurd_tensors_are_one_line_and_take_no_memory(tmp_path, state, meaning):
    torch.save(state(), tmp_path / "absurd.pth")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=meaning) as raised:
        ThirdPartyNetwork.from_file(tmp_path / "absurd.pth")
    assert "\n" not in str(raised.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 << 20  # KiB
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


class TestOneChannel:
    @pytest.fixture
    def upscaler(self, tmp_path):
        torch.manual_seed(0)
        network = other_network("ESRGAN", in_nc=1, out_nc=1, num_filters=8, num_blocks=1, scale=2)
        torch.save(network.state_dict(), tmp_path / "gray.pth")
        return Upscaler.from_pretrained(tmp_path / "gray.pth")

    @torch.no_grad()
    def test_luma_is_the_networks_and_chroma_bicubic(self, upscaler):
        lr = torch.rand(1, 3, 40, 51) * 0.5 + 0.25
        sr = upscaler.network(lr)
        torch.testing.assert_close(full_range_luma(sr), upscaler.network.descriptor(full_range_luma(lr)))
        large = torch.nn.functional.interpolate(lr, scale_factor=2, mode="bicubic")
        chroma = sr - full_range_luma(sr) - (large - full_range_luma(large))
        assert chroma.abs().max() < 1e-5

    def test_gray_pictures_stay_gray(self, upscaler):
        large = upscaler.upscale_picture(picture_of(30, 33, channels=1))
        assert large.color.shape == (60, 66, 1)


class TestBfloat16:
    def loaded(self, path, *, factor=1.0):
        torch.manual_seed(0)
        network = other_network("ESRGAN", in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=2)
        with torch.no_grad():
            network.model[-1].weight.mul_(factor)
        torch.save(network.state_dict(), path)
        return ThirdPartyNetwork.from_file(path)

    def test_it_is_tried_only_on_a_cpu_that_is_fast_in_it(self, tmp_path):
        self.loaded(tmp_path / "a.pth")
        upscaler = Upscaler.from_pretrained(tmp_path / "a.pth")
        assert (upscaler.network.bfloat16_difference is not None) == has_fast_bfloat16()

    def test_the_largest_difference_is_known(self, tmp_path):
        network = self.loaded(tmp_path / "a.pth")
        network.tolerates_bfloat16()
        assert 0 < network.bfloat16_difference < 16

    def test_a_network_that_rounds_too_much_stays_in_float32(self, tmp_path):
        assert self.loaded(tmp_path / "a.pth").tolerates_bfloat16()
        network = self.loaded(tmp_path / "b.pth", factor=1000)
        assert not network.tolerates_bfloat16() and network.bfloat16_difference > 16


class TestFourChannels:
    @pytest.fixture
    def upscaler(self, tmp_path):
        torch.manual_seed(0)
        network = other_network("ESRGAN", in_nc=4, out_nc=4, num_filters=8, num_blocks=1, scale=2)
        torch.save(network.state_dict(), tmp_path / "rgba.pth")
        return Upscaler.from_pretrained(tmp_path / "rgba.pth")

    def test_rgba_goes_through_the_network(self, upscaler):
        picture = picture_of(40, 43, alpha=True)
        rgba = np.dstack([picture.color, picture.alpha]).astype(np.float32) / 255
        expected = upscaler.network.descriptor(torch.from_numpy(rgba).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        large = upscaler.upscale_picture(picture)
        found = np.dstack([large.color, large.alpha]).astype(np.float32) / 255
        np.testing.assert_allclose(found, expected.numpy(), atol=0.51 / 255, rtol=0)

    def test_twice_through_the_network_and_16_bits(self, upscaler):
        large = upscaler.upscale_picture(picture_of(30, 33, alpha=True, dtype=np.uint16), size=(99, 90))
        assert large.alpha.shape == (90, 99) and large.alpha.dtype == np.uint16

    def test_rgb_is_opaque(self, upscaler):
        assert upscaler.upscale_picture(picture_of(30, 33)).color.shape == (60, 66, 3)
