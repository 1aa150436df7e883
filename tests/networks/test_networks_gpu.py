"""Every shipped network on a GPU, in each dtype, gives what it gives on the CPU in float32."""

import pytest
import torch

from sr_cli import weights
from sr_cli.networks.fast.training_convolutions import convolve_by_rows
from sr_cli.upscaling.load import find_weights, load_weights
from sr_cli.upscaling.runner import Runner

pytestmark = pytest.mark.gpu

SHIPPED = [name for name, entry in weights.entries().items() if weights.state(entry) == "shipped"]
BOUNDS = {"float32": (2e-5, 2e-6), "float16": (0.01, 1e-3), "bfloat16": (0.06, 8e-3)}
"""The largest and the mean difference. A CPU in half precision differs from itself in float32 by half of that."""


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_gpu_gives_what_the_cpu_gives(name, dtype, photo, gpu):
    network, _ = load_weights(find_weights(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lr = (photo[..., :44, :] + 0.1 * torch.rand(1, 3, 44, 84)).clamp(0, 1)
    exact = Runner(network, device=torch.device("cpu"))(lr)
    difference = (Runner(network, device=gpu, dtype=getattr(torch, dtype))(lr) - exact).abs()
    largest, mean = BOUNDS[dtype]
    assert difference.max() < largest and difference.mean() < mean


def test_float32_stays_float32_and_the_caller_s_setting_stays(photo, gpu):
    """Not TF32, whose results differ by 1e-3."""
    network, _ = load_weights(find_weights("compact-x4"))
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        sr = Runner(network, device=gpu)(photo)
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before
    torch.testing.assert_close(sr, Runner(network, device=torch.device("cpu"))(photo), rtol=0, atol=2e-5)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_rows_of_a_kernel_add_up_in_any_layout(layout, gpu):
    features = torch.rand(2, 16, 20, 31, device=gpu).contiguous(memory_format=layout)
    weight = torch.rand(3, 16, 9, 9, device=gpu).contiguous(memory_format=layout)
    expected = torch.nn.functional.conv2d(features.double(), weight.double(), padding=4)
    torch.testing.assert_close(convolve_by_rows(features, weight, None).double(), expected, rtol=2e-3, atol=0)
