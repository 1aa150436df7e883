import pytest
import torch
from torch import nn

from sr_cli.errors import UsageError
from sr_cli.imageops.resize import resize
from sr_cli.networks.compact import Compact
from sr_cli.networks.johnson import Johnson
from sr_cli.networks.registry import build


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def johnson_parameters(doublings: int) -> int:
    """The report's section 3.1, counted by hand: convolutions without bias before a BN of two values a channel."""
    head = 9 * 9 * 3 * 64 + 2 * 64
    blocks = 4 * 2 * (3 * 3 * 64 * 64 + 2 * 64)
    upsampling = doublings * (4 * 4 * 64 * 64 + 2 * 64)
    return head + blocks + upsampling + 9 * 9 * 64 * 3 + 3


@pytest.mark.parametrize(("scale", "side", "doublings"), [(4, 72, 2), (8, 36, 3)])
@pytest.mark.slow
def test_johnson_is_the_reports_network(scale, side, doublings):
    network = Johnson(scale=scale).eval()
    with torch.inference_mode():
        sr = network(torch.rand(1, 3, side, side))
    assert sr.shape == (1, 3, 288, 288)
    assert 0 <= sr.min() <= sr.max() <= 1
    assert parameters(network) == johnson_parameters(doublings)


def test_johnson_has_a_weight_of_its_own_for_every_layer():
    network = Johnson(scale=8)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(convolutions) == len({m.weight.data_ptr() for m in convolutions}) == 1 + 8 + 3 + 1
    assert len(norms) == len({m.weight.data_ptr() for m in norms}) == 1 + 8 + 3


def test_johnson_sums_without_a_relu():
    """With the branch switched off a block is the identity, for negative values too."""
    block = Johnson(scale=2).body[0].eval()
    nn.init.zeros_(block.branch[-1].weight)
    features = torch.randn(1, 64, 5, 5)
    torch.testing.assert_close(block(features), features)


@pytest.mark.parametrize("scale", Johnson.scales)
def test_johnson_can_start_as_a_bilinear_enlargement(photo, scale):
    torch.manual_seed(0)
    network = Johnson(scale=scale)
    network.start_bilinear()
    lr = resize(photo, (32, 32)).clamp(0, 1)
    with torch.inference_mode():
        sr = network.eval()(lr)
    wanted = torch.nn.functional.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)
    # Not at the border, where transposed convolutions find nothing; nor equal, as tanh is no straight line.
    difference = (sr - wanted)[..., scale:-scale, scale:-scale]
    assert difference.abs().max() < 0.12 and difference.abs().mean() < 0.05
    assert difference.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("scale", Compact.scales)
def test_compact_starts_near_its_skip_and_without_a_checkerboard(scale):
    torch.manual_seed(0)
    network = Compact(scale=scale, width=16, depth=3).eval()
    with torch.inference_mode():
        sr = network(torch.full((1, 3, 16, 16), 0.5))
    assert sr.shape == (1, 3, 16 * scale, 16 * scale)
    inner = sr[..., 5 * scale : -5 * scale, 5 * scale : -5 * scale]
    assert inner.std(dim=(2, 3)).max() < 1e-6


@pytest.mark.parametrize("scale", Compact.scales)
def test_compacts_skip_is_the_bicubic_enlargement(photo, scale):
    network = Compact(scale=scale, width=4, depth=1).eval()
    nn.init.zeros_(network.tail.weight)
    for lr in (photo, photo[..., :1, :1], photo[..., :1, :9], photo[..., :3, :2]):
        with torch.inference_mode():
            sr = network(lr)
        torch.testing.assert_close(sr, resize(lr, (scale * lr.shape[2], scale * lr.shape[3])), rtol=0, atol=1e-5)


def test_compacts_skip_is_exact_where_the_rest_is_in_half_precision(photo):
    network = Compact(scale=4, width=4, depth=1)
    nn.init.zeros_(network.tail.weight)
    with torch.autocast("cpu", torch.bfloat16):
        sr = network(photo)
    assert sr.dtype == torch.float32
    torch.testing.assert_close(sr, resize(photo, (4 * photo.shape[2], 4 * photo.shape[3])), rtol=0, atol=1e-5)


def test_compact_computes_at_lr_resolution():
    sizes = []
    network = Compact(scale=4, width=8, depth=2)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, output: sizes.append(output.shape[-2:]))
    network(torch.rand(1, 3, 9, 7))
    assert set(sizes) == {(9, 7)}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "johnson", "scale": 2},
        {"name": "johnson", "scale": 4},
        {"name": "johnson", "scale": 8},
        {"name": "compact", "scale": 3, "width": 8, "depth": 4},
        {"name": "compact", "scale": 4, "width": 8, "depth": 0},
        {"name": "gated", "scale": 2, "width": 8, "depth": 5},
    ],
)
@pytest.mark.slow
def test_the_halo_is_the_reach_of_an_output_pixel(lively, architecture):
    """Rows further away than the halo change nothing; rows within it do; and so do columns."""
    network = lively(**architecture).double()
    halo = network.geometry.halo
    middle = halo + 2
    rows = torch.rand(1, 3, 2 * middle + 1, 2, dtype=torch.float64)
    kept = slice(middle * network.scale, (middle + 1) * network.scale)

    def middle_row(lr):
        return network(lr)[..., kept, :]

    def middle_column(lr):
        return network(lr.mT).mT[..., kept, :]

    outside, inside = rows.clone(), rows.clone()
    outside[..., : middle - halo, :] = outside[..., middle + halo + 1 :, :] = 0
    inside[..., middle - halo + 2, :] = 1 - inside[..., middle - halo + 2, :]
    with torch.inference_mode():
        for result in (middle_row, middle_column):
            before = result(rows)
            torch.testing.assert_close(result(outside), before, rtol=0, atol=1e-12)
            assert not torch.allclose(result(inside), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "architecture", [{"name": "johnson", "scale": 4}, {"name": "compact", "scale": 3, "width": 8, "depth": 2}]
)
def test_a_network_is_built_again_from_its_architecture(architecture):
    network = build(**architecture)
    again = build(**network.architecture)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}


def test_what_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="unknown network 'resnet'"):
        build(name="resnet", scale=4)
    with pytest.raises(UsageError, match="scale 3 is not one of 2, 4, 8"):
        build(name="johnson", scale=3)
    with pytest.raises(UsageError, match="fixed width"):
        build(name="johnson", scale=4, width=32)
