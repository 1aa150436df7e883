"""What runs is the network as it was trained, however its weights are laid out."""

import platform

import pytest
import torch
from torch import nn

from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.networks.registry import build

CPU = torch.device("cpu")
X86 = platform.machine().lower() in ("x86_64", "amd64")
SHAPES = [(1, 1, 1), (2, 1, 5), (1, 9, 14), (3, 40, 33)]


def convolution(inputs, outputs, size):
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, size, padding=size // 2).requires_grad_(False)


@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu"])
@pytest.mark.parametrize(("inputs", "outputs", "size"), [(3, 16, 3), (16, 12, 5), (7, 5, 2)])
def test_a_packed_layer_is_the_layer(activation, inputs, outputs, size):
    plain, packed = (FusedConv(convolution(inputs, outputs, size), activation, slope=0.1) for _ in range(2))
    packed.pack()
    assert (packed._packed is not None) == X86
    for count, height, width in SHAPES:
        features = torch.randn(count, inputs, height, width).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(packed(features), plain(features), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_adds_to_a_tensor_in_place(shape):
    plain, packed = (FusedConv(convolution(8, 8, 3)) for _ in range(2))
    packed.pack()
    count, height, width = shape
    features, sum_ = (
        torch.randn(count, 8, height, width).contiguous(memory_format=torch.channels_last) for _ in range(2)
    )
    expected = sum_ + plain(features)
    result = packed.added_to(sum_, features)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    assert result.data_ptr() == sum_.data_ptr()


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "johnson", "scale": 2},
        {"name": "johnson", "scale": 8},
        {"name": "compact", "scale": 4, "width": 24},
        {"name": "gated", "scale": 2, "width": 16, "depth": 10},
    ],
    ids=["johnson-x2", "johnson-x8", "compact-x4", "gated-x2"],
)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.slow
def test_the_network_that_runs_is_the_one_that_was_trained(lively, architecture, shape):
    network = lively(**architecture)
    run = InferenceForm(network, device=CPU, dtype=torch.float32)
    lr = torch.rand(shape[0], 3, *shape[1:])
    with torch.inference_mode():
        torch.testing.assert_close(run(lr), network(lr), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "architecture",
    [{"name": "compact", "width": 16, "depth": 3}, {"name": "gated", "width": 16, "depth": 5}, {"name": "johnson"}],
)
def test_half_precision_is_near_float32(architecture):
    torch.manual_seed(0)
    network = build(scale=4, **architecture).eval()
    lr = torch.rand(1, 3, 20, 30)
    half, single = (InferenceForm(network, device=CPU, dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    with torch.inference_mode():
        result = half(lr)
        assert result.dtype == torch.float32 and not torch.equal(result, result.bfloat16().float())
        torch.testing.assert_close(result, single(lr), rtol=0, atol=0.02)
