import pytest
import torch
from torch.nn import functional as F

from sr_cli.networks.fast.fused_johnson import FusedJohnson
from sr_cli.networks.fast.polyphase import transposed_kernel, unshuffled_kernel


def conv_transposed(features, weight, bias=None):
    bias = None if bias is None else bias.repeat_interleave(4)
    phases = F.conv2d(features, transposed_kernel(weight), bias, padding=1)
    return F.pixel_shuffle(phases, 2)[..., 1:-1, 1:-1]


def conv_unshuffled(features, weight, bias=None):
    kernel = unshuffled_kernel(weight)
    bias = None if bias is None else bias.repeat_interleave(4)
    return F.pixel_shuffle(F.conv2d(F.pixel_unshuffle(features, 2), kernel, bias, padding=kernel.shape[-1] // 2), 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 4)])
def test_a_transposed_convolution_is_a_convolution_and_a_shuffle(shape):
    torch.manual_seed(0)
    features = torch.randn(2, 5, *shape, dtype=torch.float64)
    weight, bias = torch.randn(5, 3, 4, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    expected = F.conv_transpose2d(features, weight, bias, stride=2, padding=1)
    torch.testing.assert_close(conv_transposed(features, weight, bias), expected)


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("shape", [(2, 2), (2, 6), (10, 8)])
def test_a_convolution_can_be_done_on_phases(size, shape):
    torch.manual_seed(0)
    features = torch.randn(2, 3, *shape, dtype=torch.float64)
    weight, bias = torch.randn(2, 3, size, size, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    expected = F.conv2d(features, weight, bias, padding=size // 2)
    torch.testing.assert_close(conv_unshuffled(features, weight, bias), expected)


def test_gradients_are_the_same():
    torch.manual_seed(0)
    features = torch.randn(1, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    up = torch.randn(4, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    out = torch.randn(3, 4, 9, 9, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(F.conv_transpose2d(features, up, stride=2, padding=1), out, padding=4).square().sum()
    phased = conv_unshuffled(conv_transposed(features, up), out).square().sum()
    inputs = (features, up, out)
    for one, other in zip(torch.autograd.grad(plain, inputs), torch.autograd.grad(phased, inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (9, 14)])
@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.slow
def test_the_inference_form_is_the_same_function(lively, scale, shape, by_row):
    network = lively(name="johnson", scale=scale)
    folded = network.fuse(matrix_units=not by_row)
    assert isinstance(folded, FusedJohnson)
    lr = torch.rand(2, 3, *shape)
    with torch.inference_mode():
        expected = network(lr)
        torch.testing.assert_close(folded(lr), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(network(lr), expected, rtol=0, atol=0)


def test_the_inference_form_has_no_norm_and_no_transposed_convolution(lively):
    kinds = {type(module).__name__ for module in lively(name="johnson", scale=4).fuse().modules()}
    assert not any("Norm" in kind or "Transpose" in kind for kind in kinds)
