"""A GPU: tiles and strips are the whole, float16 that overflows becomes float32, and memory may run out."""

import json
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from PIL import Image

from sr_cli.config import UpscaleConfig
from sr_cli.networks.third_party import ThirdPartyNetwork
from sr_cli.upscaling.load import find_weights, load_weights
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tiling import put_together
from sr_cli.upscaling.upscaler import Upscaler
from support.other_projects import network as other_network

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
ROUNDING = {"float32": 2e-5, "float16": 0.005, "bfloat16": 0.04}
"""How far two ways to compute the same differ: they round at the same places, but add up in another order."""


def shipped(name):
    return load_weights(find_weights(name))[0]


def noise(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def upscaled(runner, lr):
    height, width = lr.shape[-2:]
    strips = runner.strips(lambda rows: lr[..., rows, :], (height, width))
    return put_together(strips, (1, 3, height * runner.geometry.scale, width * runner.geometry.scale))


@pytest.fixture
def room(gpu):
    """A function that leaves PyTorch that many MiB, apart from fragments below 32 KiB."""
    held = []

    def leave(mib):
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(gpu).total_memory
        torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved(gpu) / total, gpu)
        for size in (1 << 24, 1 << 21, 1 << 15):  # what it has reserved, but not allocated
            with suppress(torch.OutOfMemoryError):
                while True:
                    held.append(torch.empty(size, dtype=torch.uint8, device=gpu))
        allowed = torch.cuda.memory_reserved(gpu) + (mib << 20)
        torch.cuda.set_per_process_memory_fraction(allowed / total, gpu)

    yield leave
    held.clear()
    torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    torch.cuda.empty_cache()


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", ["compact-x2", "compact-x4", "johnson-x4", "johnson-x8"])
def test_tiles_and_strips_are_the_whole(name, dtype, gpu):
    network, lr = shipped(name), noise(170, 130)
    options = {"device": gpu, "dtype": getattr(torch, dtype)}
    whole = upscaled(Runner(network, tile=None, **options), lr)
    tiled = upscaled(Runner(network, tile=50, **options), lr)
    strips = Runner(network, **options)
    strips.fit = lambda _, width: setattr(strips, "tile", (85, width))
    torch.testing.assert_close(tiled, whole, rtol=0, atol=ROUNDING[dtype])
    torch.testing.assert_close(upscaled(strips, lr), whole, rtol=0, atol=ROUNDING[dtype])
    assert strips.streams(170, 130)


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_batch_is_its_images(ensemble, gpu):
    upscaler = Upscaler(shipped("compact-x4"), UpscaleConfig(device="cuda", ensemble=ensemble), name="x")
    images = torch.cat([noise(40, 52), noise(40, 52).flip(-1)])
    apart = torch.cat([upscaler.upscale_tensor(image[None]) for image in images])
    torch.testing.assert_close(upscaler.upscale_tensor(images), apart, rtol=0, atol=ROUNDING["float16"])
    assert (upscaler.device, upscaler.dtype_name) == (gpu, "float16")
    assert upscaler.upscale_tensor(images.to(gpu)).device == gpu


@pytest.mark.usefixtures("gpu")
class TestThirdParty:
    def network(self, *, gain=1.0):
        spandrel = pytest.importorskip("spandrel")
        torch.manual_seed(0)
        state = other_network("Compact", num_feat=16, num_conv=4, upscale=2).state_dict()
        for key in ("body.0.weight", "body.0.bias"):
            state[key] *= gain
        state["body.8.weight"] /= gain
        return ThirdPartyNetwork(spandrel.ModelLoader().load_from_state_dict(state))

    def test_runs_in_half_precision(self):
        network, lr = self.network(), noise(50, 61)
        exact = Upscaler(network, UpscaleConfig(device="cpu", dtype="float32"), name="x").upscale_tensor(lr)
        upscaler = Upscaler(network, UpscaleConfig(device="cuda"), name="x")
        torch.testing.assert_close(upscaler.upscale_tensor(lr), exact, rtol=0, atol=0.01)
        assert upscaler.dtype_name == "float16"

    def test_overflow_is_said_and_float32_takes_over(self):
        network, lr, told = self.network(gain=1e6), noise(150, 170), []
        exact = Upscaler(network, UpscaleConfig(device="cpu", dtype="float32"), name="x").upscale_tensor(lr)
        upscaler = Upscaler(network, UpscaleConfig(device="cuda", tile=64), name="x", on_step_down=told.append)
        torch.testing.assert_close(upscaler.upscale_tensor(lr), exact, rtol=0, atol=1e-3)
        assert len(told) == 1 and "not finite in float16" in told[0]
        assert upscaler.dtype_name == "float32"

    def test_one_that_does_not_support_float16_runs_in_float32(self):
        network = self.network()
        network.tolerates_float16 = False
        assert Upscaler(network, UpscaleConfig(device="cuda"), name="x").dtype_name == "float32"


@pytest.mark.parametrize("tile", [None, "auto"])
@pytest.mark.parametrize("name", ["compact-x4", "johnson-x4"])
def test_memory_that_runs_out_makes_tiles_smaller_and_the_same_picture(name, tile, gpu, room):
    """``auto`` asks the driver how much is free, which knows nothing of PyTorch's own limit."""
    network, lr, told = shipped(name), noise(1000, 1400), []
    expected = upscaled(Runner(network, device=gpu, dtype=torch.float16, tile=256), lr)
    runner = Runner(network, device=gpu, dtype=torch.float16, tile=tile, on_step_down=told.append)
    runner(lr[..., :32, :32])  # the weights are there, and the libraries have their workspace
    room(48)
    sr = upscaled(runner, lr)
    assert told and all(message.startswith("not enough memory on cuda:0: tiles of") for message in told)
    assert runner.device == gpu
    torch.testing.assert_close(sr, expected, rtol=0, atol=ROUNDING["float16"])
    steps = len(told)
    upscaled(runner, lr)
    assert len(told) == steps  # remembered


def test_without_memory_for_the_smallest_tile_the_cpu_takes_over(gpu, room):
    network, lr, told = shipped("compact-x2"), noise(70, 90), []
    runner = Runner(network, device=gpu, dtype=torch.float16, tile=64, on_step_down=told.append)
    room(0)
    sr = upscaled(runner, lr)
    assert "on the CPU now" in told[-1]
    assert (runner.device, runner.dtype) == (CPU, torch.float32)
    torch.testing.assert_close(sr, upscaled(Runner(network, device=CPU), lr), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("gpu")
def test_the_command_runs_on_the_gpu(tmp_path):
    for index in range(3):
        Image.effect_noise((50 + index, 40), 90).convert("RGB").save(tmp_path / f"{index}.png")
    command = [sys.executable, "-m", "sr_cli", "upscale", str(tmp_path), "-o", str(tmp_path / "large"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *pictures, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert summary["done"] == 3
    for picture in pictures:
        assert (picture["device"], picture["dtype"]) == ("cuda:0", "float16")
        assert 0 < picture["peak_memory"] < 1 << 30
        assert Image.open(picture["output"]).size == tuple(picture["output_size"])
