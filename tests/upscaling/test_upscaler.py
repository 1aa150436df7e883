"""Pictures in, pictures out: size, depth, alpha, color spaces, third-party networks, and too little memory."""

import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sr_cli.config import UpscaleConfig
from sr_cli.errors import DeviceError, WeightsError
from sr_cli.images import Picture
from sr_cli.networks.base import Geometry, Network
from sr_cli.networks.checkpoint import save_network
from sr_cli.networks.registry import build
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tile_size import BUDGET
from sr_cli.upscaling.tiling import TileTooLarge
from sr_cli.upscaling.upscaler import Upscaler
from support.fast_python import python

CPU = torch.device("cpu")


def exact(network, *, on_step_down=lambda _: None, **fields):
    config = UpscaleConfig(**{"device": "cpu", "dtype": "float32", **fields})
    return Upscaler(network, config, name="x", on_step_down=on_step_down)


class Repeating(Network):
    """Repeats pixels. Keeps a record of what it was shown; ``room`` is the largest side that there is memory for."""

    def __init__(self, scale=2, room=10_000):
        super().__init__(scale=scale)
        self.room, self.shown = room, []
        self.gain = nn.Parameter(torch.ones(1))

    @property
    def geometry(self):
        return Geometry(scale=self.scale, halo=2)

    def __deepcopy__(self, memo):
        return self

    def forward(self, lr):
        if max(lr.shape[-2:]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        self.shown.append(tuple(lr.shape[-2:]))
        return (lr * self.gain).repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


def picture_of(height, width, *, channels=3, dtype=np.uint8, alpha=False):
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    return Picture(
        color=rng.integers(0, top, (height, width, channels), dtype, endpoint=True),
        alpha=rng.integers(0, top, (height, width), dtype, endpoint=True) if alpha else None,
    )


def test_strips_are_the_picture(lively):
    upscaler = exact(lively(name="compact", scale=2, width=8, depth=1), tile=7)
    picture = picture_of(20, 33, alpha=True)
    whole = upscaler.upscale_picture(picture)
    strips = list(upscaler.strips(picture))
    assert len(strips) > 1
    np.testing.assert_array_equal(np.concatenate([strip.color for strip in strips]), whole.color)
    np.testing.assert_array_equal(np.concatenate([strip.alpha for strip in strips]), whole.alpha)
    assert (whole.height, whole.width) == (40, 66)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_depth_and_channels_stay(dtype, channels):
    picture = picture_of(5, 9, channels=channels, dtype=dtype)
    large = exact(Repeating()).upscale_picture(picture)
    expected = picture.color.repeat(2, axis=0).repeat(2, axis=1)
    assert large.color.dtype == dtype
    assert np.abs(large.color.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", [(17, 9), (50, 31), (23, 90), (1, 1), (160, 60)])
def test_any_size(size):
    """Beyond the scale the network runs again; what is too large is reduced."""
    network = Repeating()
    large = exact(network, tile=None).upscale_picture(picture_of(15, 20, alpha=True), size=size)
    assert (large.width, large.height) == size
    assert large.alpha is not None
    passes = {(17, 9): 1, (50, 31): 2, (23, 90): 3, (1, 1): 1, (160, 60): 3}[size]
    assert len(network.shown) == passes


def test_reduced_by_an_antialiased_kernel():
    checkerboard = np.indices((32, 32)).sum(0)[..., None].astype(np.uint8) % 2 * 255
    small = exact(Repeating()).upscale_picture(Picture(color=checkerboard), size=(12, 12))
    assert np.abs(small.color[2:-2, 2:-2].astype(int) - 127).max() < 40


def test_pillow_images_keep_their_mode():
    for mode in ("L", "LA", "RGB", "RGBA"):
        large = exact(Repeating()).upscale(Image.new(mode, (4, 3)))
        assert (large.mode, large.size) == (mode, (8, 6))
    assert exact(Repeating()).upscale(Image.new("P", (4, 3)), size=(5, 5)).size == (5, 5)


@pytest.mark.parametrize("hidden", [0, 255])
def test_a_disc_has_no_fringe_on_either_background(hidden):
    """Whatever lies under the transparent pixels, the disc's color goes up to its edge."""
    y, x = np.mgrid[:48, :48] - 23.5
    alpha = (np.clip(18 - np.hypot(y, x), -0.5, 0.5) * 255 + 127.5).astype(np.uint8)
    color = np.full((48, 48, 3), hidden, np.uint8)
    color[alpha > 0] = (200, 120, 60)
    upscaler = exact(Bicubic(4))
    large = upscaler.upscale_picture(Picture(color=color, alpha=alpha))
    shown = large.alpha > 0
    for background in (0, 255):
        share = large.alpha[..., None] / 255
        ideal = share * (200, 120, 60) + (1 - share) * background
        composed = share * large.color + (1 - share) * background
        assert np.abs(composed - ideal)[shown].max() < 4
    assert len(np.unique(large.alpha)) > 50  # a smooth edge


class Bicubic(Repeating):
    """Carries what lies under transparent pixels over the edge, as every network does."""

    def forward(self, lr):
        return nn.functional.interpolate(lr, scale_factor=self.scale, mode="bicubic", antialias=False)


def test_the_mean_of_eight_is_blind_to_orientation(lively):
    network = lively(name="compact", scale=2, width=8, depth=1)
    lr = torch.rand(1, 3, 12, 9)
    upscaler = exact(network, ensemble=True, tile=5)
    turned = upscaler.upscale_tensor(lr.rot90(1, (-2, -1))).rot90(-1, (-2, -1))
    torch.testing.assert_close(upscaler.upscale_tensor(lr), turned, atol=1e-5, rtol=0)
    assert (exact(network).upscale_tensor(lr) - turned).abs().max() > 1e-3


def test_the_header_says_how_to_match_colors(tmp_path, lively):
    network = lively(name="compact", scale=2, width=8, depth=1)
    save_network(tmp_path / "m.safetensors", network, about={"color_match": "low-frequency"})
    picture = Picture(color=np.full((20, 20, 3), 102, np.uint8))
    matched = Upscaler.from_pretrained(tmp_path / "m.safetensors").upscale_picture(picture)
    plain = Upscaler.from_pretrained(tmp_path / "m.safetensors", color_match="none").upscale_picture(picture)
    assert abs(matched.color.mean() - 102) < 0.5 < abs(plain.color.mean() - 102)


def test_strength_goes_from_the_weights_that_others_were_trained_from_to_those(tmp_path):
    torch.manual_seed(0)
    shape = {"name": "compact", "scale": 2, "width": 4, "depth": 1}
    save_network(tmp_path / "true.safetensors", build(**shape), about={})
    save_network(tmp_path / "crisp.safetensors", build(**shape), about={"init": str(tmp_path / "true.safetensors")})

    def tail(name, **options):
        upscaler = Upscaler.from_pretrained(tmp_path / f"{name}.safetensors", **options)
        return upscaler.network.tail.weight

    torch.testing.assert_close(tail("crisp", strength=0.0), tail("true"))
    torch.testing.assert_close(tail("crisp", strength=1.0), tail("crisp"))
    torch.testing.assert_close(tail("crisp", strength=0.25), 0.75 * tail("true") + 0.25 * tail("crisp"))
    with pytest.raises(WeightsError, match="not trained from other weights"):
        tail("true", strength=0.5)


def test_less_memory_means_smaller_tiles_and_the_same_picture():
    told = []
    upscaler = exact(Repeating(room=70), tile=None, on_step_down=told.append)
    lr = torch.rand(1, 3, 200, 260)
    sr = upscaler.upscale_tensor(lr)
    steps = len(told)
    torch.testing.assert_close(sr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))
    upscaler.upscale_tensor(lr)
    assert steps == len(told) == 2  # 130, 65; remembered for the next picture
    assert "tiles of 65 × 65" in told[-1]


def test_no_memory_at_all_is_said():
    inference = Runner(Repeating(room=8), device=CPU, tile=None)
    with pytest.raises(DeviceError, match="not enough memory"):
        for _ in range(20):
            try:
                inference(torch.rand(1, 3, 64, 64))
            except TileTooLarge:
                continue


def test_the_cpu_takes_over_when_the_device_is_too_small():
    """The meta device stands for a GPU: what is computed there has no values, which is an error of its own."""
    told = []
    inference = Runner(Repeating(room=40), device=torch.device("meta"), tile=40, on_step_down=told.append)
    inference._step_down(40)
    assert inference.device == CPU
    assert inference.dtype == torch.float32
    assert "on the CPU" in told[-1]


def test_half_precision_that_overflows_is_done_again():
    network = Repeating()
    torch.nn.init.constant_(network.gain, 1.0)

    class Overflowing(Repeating):
        def forward(self, lr):
            return super().forward(lr * 60_000 * 2) / 120_000

    inference = Runner(Overflowing(), device=CPU, dtype=torch.float16, tile=None)
    lr = torch.rand(1, 3, 6, 6) * 0.5 + 0.5
    torch.testing.assert_close(inference(lr), lr.repeat_interleave(2, -1).repeat_interleave(2, -2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_rounds_only_what_the_network_adds(lively, dtype):
    """A faint slope stays one: in eight bits of mantissa it would be stairs."""
    network = lively(name="compact", scale=4, width=8, depth=2)
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    slope = torch.linspace(0.70, 0.72, 24).expand(1, 3, 24, 24)
    full, half = (exact(network, dtype=each).upscale_tensor(slope) for each in ("float32", dtype))
    torch.testing.assert_close(half, full, rtol=0, atol=1e-6)
    whole = lively(name="compact", scale=4, width=8, depth=2)
    lr = torch.rand(1, 3, 24, 24)
    full, half = (exact(whole, dtype=each).upscale_tensor(lr) for each in ("float32", dtype))
    assert 0 < (half - full).abs().max() < 0.02


def test_damaged_weights_make_no_black_picture():
    network = Repeating()
    torch.nn.init.constant_(network.gain, float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        exact(network).upscale_tensor(torch.rand(1, 3, 4, 4))


@pytest.mark.slow
def test_real_allocation_failures_are_survived(weights_of):
    """With an address space that ends early, the CPU's allocator fails, and smaller tiles do."""
    weights = weights_of(name="compact", scale=4, width=64, depth=1)
    program = f"""
import resource, torch
from pathlib import Path
from sr_cli.upscaling.upscaler import Upscaler
told = []
upscaler = Upscaler.from_pretrained(Path({str(weights)!r}), tile=None, dtype="float32", on_step_down=told.append)
lr = torch.rand(1, 3, 600, 600)
upscaler.upscale_tensor(lr[..., :32, :32])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (284 << 20), resource.RLIM_INFINITY))
sr = upscaler.upscale_tensor(lr)
print(tuple(sr.shape), len(told), bool(sr.isfinite().all()))
"""
    done = subprocess.run([python(), "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    shape, steps, finite = done.stdout.rsplit(maxsplit=2)
    assert (shape, finite) == ("(1, 3, 2400, 2400)", "True")
    assert int(steps) >= 1


@pytest.mark.parametrize(
    ("architecture", "budgets"),
    [({"name": "johnson", "scale": 4}, 4), ({"name": "compact", "scale": 4, "width": 64, "depth": 16}, 1)],
)
def test_automatic_tiles_fit_into_the_budget(lively, architecture, budgets):
    network = lively(**architecture)
    inference = Runner(network, device=CPU)
    inference.fit(3000, 4000)
    assert inference._memory().fits(*inference.tile, image_width=4000, budget=budgets * BUDGET)
    small = inference.tile
    inference.fit(20, 20)
    assert inference.tile is None
    inference.fit(3000, 4000)
    assert inference.tile == small


class TestThirdParty:
    @pytest.fixture
    def weights(self, tmp_path):
        from spandrel.architectures.Compact import Compact

        torch.manual_seed(0)
        network = Compact(num_feat=8, num_conv=2, upscale=2)
        torch.save({"params": network.state_dict()}, tmp_path / "other.pth")
        return tmp_path / "other.pth"

    def test_runs_like_our_own(self, weights):
        upscaler = Upscaler.from_pretrained(weights, color_match="low-frequency")
        large = upscaler.upscale_picture(picture_of(30, 41, dtype=np.uint16, alpha=True))
        assert (upscaler.scale, large.width, large.height, large.bits) == (2, 82, 60, 16)

    def test_tiles_are_blended_to_nearly_the_whole(self, weights):
        lr = torch.rand(1, 3, 150, 170)
        tiled = Upscaler.from_pretrained(weights, tile=64).upscale_tensor(lr)
        whole = Upscaler.from_pretrained(weights, tile=None).upscale_tensor(lr)
        torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 2)])
    def test_small_pictures(self, weights, shape):
        large = Upscaler.from_pretrained(weights).upscale_picture(picture_of(*shape))
        assert (large.height, large.width) == (2 * shape[0], 2 * shape[1])

    def test_a_transformer_with_windows(self, tmp_path):
        from spandrel.architectures.SwinIR import SwinIR

        torch.manual_seed(0)
        network = SwinIR(
            img_size=16, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=8, upscale=2,
            upsampler="pixelshuffledirect", mlp_ratio=2,
        )  # fmt: skip
        torch.save(network.state_dict(), tmp_path / "swin.pth")
        large = Upscaler.from_pretrained(tmp_path / "swin.pth", tile=64).upscale_picture(picture_of(70, 99))
        assert (large.height, large.width) == (140, 198)

    def test_code_in_a_checkpoint_is_not_run(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (open, (str(tmp_path / "exploded"), "w"))

        torch.save({"params": Bomb()}, tmp_path / "bomb.pth")
        with pytest.raises(WeightsError, match=r"bomb\.pth"):
            Upscaler.from_pretrained(tmp_path / "bomb.pth")
        assert not (tmp_path / "exploded").exists()

    @pytest.mark.parametrize("name", ["text.pth", "text.safetensors", "text.pt"])
    def test_what_is_no_checkpoint(self, tmp_path, name):
        (tmp_path / name).write_text("hello")
        with pytest.raises(WeightsError, match="text"):
            Upscaler.from_pretrained(tmp_path / name)

    def test_an_unknown_architecture(self, tmp_path):
        torch.save({"layer.weight": torch.rand(3, 3), "other": torch.rand(2)}, tmp_path / "odd.pth")
        with pytest.raises(WeightsError, match="unknown"):
            Upscaler.from_pretrained(tmp_path / "odd.pth")


def test_johnson_in_an_upscaler(weights_of):
    upscaler = Upscaler.from_pretrained(weights_of(name="johnson", scale=2))
    assert upscaler.upscale_picture(picture_of(9, 9)).color.shape == (18, 18, 3)
    assert build(name="johnson", scale=2).geometry == upscaler.runner.geometry
