"""An image in strips gives what it gives as a whole, and no pixel is computed twice."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sr_cli.config import UpscaleConfig
from sr_cli.images import Picture
from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tiling import put_together
from sr_cli.upscaling.upscaler import Upscaler

CPU = torch.device("cpu")
ARCHITECTURES = [
    {"name": "compact", "scale": 2, "width": 8, "depth": 0},
    {"name": "compact", "scale": 3, "width": 8, "depth": 5},
    {"name": "compact", "scale": 4, "width": 16, "depth": 16},
    {"name": "gated", "scale": 3, "width": 16, "depth": 10},
    {"name": "johnson", "scale": 2},
    {"name": "johnson", "scale": 4},
    {"name": "johnson", "scale": 8},
]
ids = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"{a['name']}-x{a['scale']}")


def photo(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def enlarged(inference, lr, **more):
    height, width = lr.shape[-2:]
    scale = inference.geometry.scale
    strips = inference.strips(lambda rows: lr[..., rows, :], (height, width), **more)
    return put_together(strips, (1, 3, scale * height, scale * width))


def in_strips(network, rows, **more):
    """An inference that takes strips of so many rows, whatever memory there is."""
    found = Runner(network, device=CPU, **more)
    found.fit = lambda _, width: setattr(found, "tile", (rows, width))
    return found


@ids
@pytest.mark.parametrize(("dtype", "amx"), [(torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)])
@pytest.mark.parametrize("cuts", [[51], [50, 50], [60, 44, 47, 71]])
@pytest.mark.slow
def test_strips_of_any_height_are_the_whole(architecture, cuts, dtype, amx, lively, monkeypatch):
    monkeypatch.setattr("sr_cli.system.device.has_amx", lambda: amx)  # both run everywhere; float32 has one form
    network = lively(**architecture)
    form = InferenceForm(network, device=CPU, dtype=dtype)
    lr = photo(sum(cuts), 5)
    run = form.stream()
    with torch.no_grad():
        strips = [run(strip, index == len(cuts) - 1) for index, strip in enumerate(lr.split(cuts, dim=2))]
        whole = form(lr)
    # In bfloat16 both round at the same places, but sum in another order.
    torch.testing.assert_close(torch.cat(strips, dim=2), whole, rtol=0, atol=1e-6 if dtype == torch.float32 else 0.02)


@ids
@pytest.mark.slow
def test_an_image_in_strips_is_the_image(architecture, lively):
    network = lively(**architecture)
    lr = photo(150, 7)
    steps = []
    inference = in_strips(network, 50)
    sr = enlarged(inference, lr, on_tile=lambda *step: steps.append(step))
    assert inference.streams(150, 7)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    with torch.no_grad():
        torch.testing.assert_close(sr, network(lr).clamp(0, 1), rtol=0, atol=1e-5)


@ids
def test_strips_end_where_a_pixel_of_the_input_ends(architecture, lively):
    lr = photo(150, 7)
    inference = in_strips(lively(**architecture), 50)
    heights = [strip.shape[-2] for strip in inference.strips(lambda rows: lr[..., rows, :], (150, 7))]
    assert len(heights) == 3
    assert all(height % architecture["scale"] == 0 for height in heights)


@pytest.mark.parametrize("match", ["low-frequency", "histogram"])
@pytest.mark.slow
def test_colors_are_matched_over_strips(match, lively):
    network = lively(name="johnson", scale=4)
    lr = photo(150, 60)

    def upscaled(tile):
        upscaler = Upscaler(network, UpscaleConfig(device="cpu", dtype="float32", color_match=match), name="test")
        upscaler.runner.fit = lambda *_: setattr(upscaler.runner, "tile", tile)
        picture = Picture(color=(lr[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), alpha=None)
        return upscaler.upscale_picture(picture).color.astype(int)

    assert np.abs(upscaled((50, 60)) - upscaled(None)).max() <= 1


@ids
@pytest.mark.slow
def test_strips_cost_what_the_whole_costs(architecture, lively):
    folded = lively(**architecture).fuse()

    def operations(run):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        return counter.get_total_flops()

    lr = photo(192, 8)
    stream = folded.stream()
    strips = operations(lambda: [stream(lr[:, :, top : top + 48], top == 144) for top in range(0, 192, 48)])
    # The border of zeros around an image is computed with too, here once more.
    assert strips == pytest.approx(operations(lambda: folded(lr)), rel=0.02)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_tiles_go_on_where_memory_runs_out(at, lively, monkeypatch):
    network = lively(name="compact", scale=2, width=8, depth=3)
    lr = photo(140, 90)
    told, steps = [], []
    inference = in_strips(network, 50, on_step_down=told.append)
    stream = InferenceForm.stream

    def failing(form):
        run, calls = stream(form), iter(range(9))

        def limited(strip, last):
            if next(calls) == at:
                raise MemoryError
            return run(strip, last)

        return limited

    monkeypatch.setattr(InferenceForm, "stream", failing)
    sr = enlarged(inference, lr, on_tile=lambda *step: steps.append(step))
    with torch.no_grad():
        torch.testing.assert_close(sr, network(lr).clamp(0, 1), rtol=0, atol=1e-5)
    assert len(told) == 1
    assert "not enough memory" in told[0]
    assert steps[-1][0] == steps[-1][1]


def test_half_precision_that_overflows_is_done_again_in_tiles(lively):
    network = lively(name="compact", scale=2, width=8, depth=3)
    with torch.no_grad():
        network.head.weight *= 1e5
        network.body[0].weight *= 1e-5
    lr = photo(140, 30)
    sr = enlarged(in_strips(network, 70, dtype=torch.float16), lr)
    with torch.no_grad():
        torch.testing.assert_close(sr, network(lr).clamp(0, 1), rtol=0, atol=1e-4)


def test_large_images_come_in_strips_and_others_do_not(lively):
    network = lively(name="compact", scale=4, width=64, depth=16)
    inference = Runner(network, device=CPU)
    for height, width, expected in [(64, 64, False), (3000, 4000, True), (60, 100_000, False)]:
        inference.fit(height, width)
        assert inference.streams(height, width) == expected
    chosen = Runner(network, device=CPU, tile=4096)
    chosen.fit(3000, 4000)
    assert not chosen.streams(3000, 4000)
    ensemble = Runner(network, device=CPU, ensemble=True)
    ensemble.fit(3000, 4000)
    assert not ensemble.streams(3000, 4000)
