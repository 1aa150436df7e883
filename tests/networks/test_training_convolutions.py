import itertools

import pytest
import torch
from torch import nn

from sr_cli.networks.fast.training_convolutions import Conv2d, ConvTranspose2d, convolve_by_rows

LAST = torch.channels_last


def both(layer, twin, features):
    """Output and gradients of a layer and of PyTorch's own with the same weights."""
    layer.to(memory_format=LAST)
    twin.load_state_dict(layer.state_dict())
    results = []
    for one in (layer, twin):
        features = features.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        output = one(features)
        weights = torch.linspace(-1, 2, output.numel()).view(output.shape).sin()
        (output * weights).sum().backward()
        gradients = [parameter.grad for parameter in one.parameters()]
        results.append([output, features.grad, *gradients])
    return results


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "bias", "shape"),
    [
        (3, 16, 9, False, (2, 20, 21)),
        (16, 16, 3, True, (3, 7, 10)),
        (16, 3, 9, True, (2, 19, 12)),
        (16, 3, 3, True, (1, 1, 1)),
        (5, 48, 5, True, (1, 9, 3)),
        (16, 9, 1, False, (2, 4, 5)),
    ],
)
def test_a_convolution_is_pytorchs(inputs, outputs, size, bias, shape):
    torch.manual_seed(0)
    layer = Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)
    twin = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)
    features = torch.randn(shape[0], inputs, *shape[1:]).to(memory_format=LAST)
    for ours, theirs in zip(*both(layer, twin, features), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.detach().abs().max()))


@pytest.mark.parametrize("shape", [(2, 6, 7), (1, 1, 1), (3, 9, 2)])
def test_a_transposed_convolution_is_pytorchs(shape):
    torch.manual_seed(0)
    layer, twin = (one(16, 24, 4, stride=2, padding=1, bias=False) for one in (ConvTranspose2d, nn.ConvTranspose2d))
    features = torch.randn(shape[0], 16, *shape[1:]).to(memory_format=LAST)
    for ours, theirs in zip(*both(layer, twin, features), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.detach().abs().max()))


@pytest.mark.parametrize(("size", "outputs"), list(itertools.product((3, 5, 9), (1, 3, 7))))
def test_a_row_of_the_kernel_at_a_time(size, outputs):
    torch.manual_seed(0)
    features, weight, bias = torch.randn(2, 8, 11, 6), torch.randn(outputs, 8, size, size), torch.randn(outputs)
    expected = nn.functional.conv2d(features, weight, bias, padding=size // 2)
    torch.testing.assert_close(convolve_by_rows(features, weight, bias), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"stride": 2, "padding": 1}, {"padding": 0}, {"dilation": 2, "padding": 1}])
def test_other_convolutions_are_left_to_pytorch(options):
    layer, twin = (one(8, 8, 3, **options) for one in (Conv2d, nn.Conv2d))
    for ours, theirs in zip(*both(layer, twin, torch.randn(1, 8, 9, 9).to(memory_format=LAST)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_layout_of_the_input_does_not_matter():
    layer = Conv2d(8, 8, 3, padding=1).to(memory_format=LAST)
    features = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(layer(features), layer(features.to(memory_format=LAST)))


def test_gradients_have_the_layout_of_their_weights():
    layers = [Conv2d(8, 8, 3, padding=1), ConvTranspose2d(8, 8, 4, stride=2, padding=1, bias=False)]
    network = nn.Sequential(*layers).to(memory_format=LAST)
    network(torch.randn(1, 8, 6, 6).to(memory_format=LAST)).sum().backward()
    for layer in layers:
        assert layer.weight.grad.stride() == layer.weight.stride()
