"""Networks of other projects: the fast form computes the same, and tiles of those that only look around are exact."""

import pytest
import torch

from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.networks.third_party import ThirdPartyNetwork
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tiling import put_together
from support.other_projects import network as other_network

CPU = torch.device("cpu")
NETWORKS = {
    "compact": lambda: other_network("Compact", num_feat=16, num_conv=4, upscale=4),
    "compact-gray": lambda: other_network("Compact", num_in_ch=1, num_out_ch=1, num_feat=16, num_conv=2, upscale=2),
    "esrgan": lambda: other_network("ESRGAN", num_filters=16, num_blocks=2, scale=4),
    "esrgan-x2": lambda: other_network("ESRGAN", in_nc=12, num_filters=16, num_blocks=1, scale=2, shuffle_factor=2),
    "esrgan-plus": lambda: other_network("ESRGAN", num_filters=16, num_blocks=1, scale=2, plus=True),
    "span": lambda: other_network("SPAN", num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=2),
    "span-no-norm": lambda: other_network(
        "SPAN", num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=4, norm=False
    ),
}
EXACT = ["compact", "compact-gray", "span", "span-no-norm"]


@pytest.fixture
def network(request, tmp_path):
    """Weights that let every activation and every branch show in a result that is mostly inside [0, 1]."""
    torch.manual_seed(0)
    model = NETWORKS[request.param]().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "body" in name:
                parameter.copy_(torch.rand_like(parameter) - 0.5)  # slopes of both signs
        values = model(torch.rand(1, next(model.parameters()).shape[1] if "gray" in request.param else 3, 40, 40))
        last = [each for each in model.modules() if isinstance(each, torch.nn.Conv2d)][-1]
        last.weight /= 4 * values.std()
        last.bias.copy_(0.5 + last.bias / (4 * values.std()))
    torch.save(model.state_dict(), tmp_path / "network.pth")
    return ThirdPartyNetwork.from_file(tmp_path / "network.pth").eval().requires_grad_(False)


def enlarged(network, lr, tile, **more):
    runner = Runner(network, device=CPU, **more)
    runner.fit = lambda *_: setattr(runner, "tile", tile)
    height, width = lr.shape[-2:]
    strips = runner.strips(lambda rows: lr[..., rows, :], (height, width))
    return put_together(strips, (1, 3, network.scale * height, network.scale * width))


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
@torch.no_grad()
@pytest.mark.slow
def test_the_network_that_runs_is_the_one_in_the_file(network):
    form = InferenceForm(network, device=CPU, dtype=torch.float32)
    assert any(isinstance(each, FusedConv) for each in form.network.modules())
    assert not any(isinstance(each, FusedConv) for each in network.modules())
    for shape in ((1, 5), (23, 31)):
        lr = torch.rand(1, 3, *shape)
        torch.testing.assert_close(form(lr).clamp(0, 1), network(lr).clamp(0, 1), rtol=0, atol=1e-5)
    coarse = InferenceForm(network, device=CPU, dtype=torch.bfloat16)(lr)
    torch.testing.assert_close(coarse.clamp(0, 1).float(), network(lr).clamp(0, 1), rtol=0, atol=0.05)


@pytest.mark.parametrize("network", EXACT, indirect=True)
@torch.no_grad()
@pytest.mark.slow
def test_tiles_and_strips_of_any_size_are_the_whole(network):
    lr = torch.rand(1, 3, 90, 50)
    whole = enlarged(network, lr, None)
    torch.testing.assert_close(whole, network(lr).clamp(0, 1), rtol=0, atol=1e-5)
    assert whole.std() > 0.1
    for tile in ((30, 50), (24, 31)):
        torch.testing.assert_close(enlarged(network, lr, tile), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", EXACT, indirect=True)
@torch.no_grad()
def test_the_halo_is_the_radius_of_the_receptive_field(network):
    halo, scale = network.geometry.halo, network.scale
    assert network.geometry.blend == 0
    lr = torch.zeros(1, 3, 3, 2 * halo + 9)
    lr[..., halo + 4] = torch.nan  # whatever depends on it is not a number
    reached = network._upscale(lr[:, : network.channels]).isnan().any(dim=2)[0, 0]
    assert reached.nonzero()[[0, -1], 0].tolist() == [4 * scale, (2 * halo + 5) * scale - 1]


@pytest.mark.parametrize("network", ["esrgan"], indirect=True)
def test_tiles_of_networks_that_see_far_are_blended(network):
    assert network.geometry.blend > 0
