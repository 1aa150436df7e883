"""Convolutions whose gradient is fast on the CPU, channels last.

There PyTorch computes outputs and gradients of inputs at nearly the speed of a matrix product, but gradients of weights
at a fifth of it, and convolutions to a few channels leave most of a vector unit idle. Here both become large matrix
products; the results are the same to rounding. Everywhere else these are PyTorch's own layers.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_ROWS = 8  # rows of windows that are gathered at a time: they stay in the cache until they are used
_FEW = 8  # outputs that a vector register holds; convolutions to fewer are done a row of the kernel at a time


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` of odd square kernels, stride 1, that keeps the size; any other is left to PyTorch."""

    def forward(self, features: Tensor) -> Tensor:
        size = self.kernel_size[0]
        plain = self.stride == (1, 1) and self.dilation == (1, 1) and self.groups == 1 and self.padding_mode == "zeros"
        if not plain or self.kernel_size != (size, size) or self.padding != (size // 2, size // 2) or not _helps(self):
            return super().forward(features)
        return _Convolution.apply(_channels_last(features), self.weight, self.bias)  # type: ignore[no-any-return]


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` of kernel 4, stride 2, padding 1; any other is left to PyTorch."""

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        plain = self.kernel_size == (4, 4) and self.stride == (2, 2) and self.padding == (1, 1)
        plain = plain and self.output_padding == (0, 0) and self.dilation == (1, 1) and self.groups == 1
        if not plain or self.bias is not None or output_size is not None or not _helps(self):
            return super().forward(features, output_size)
        return _TransposedConvolution.apply(_channels_last(features), self.weight)  # type: ignore[no-any-return]


def _helps(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether a float32 gradient of channels-last weights on the CPU will be wanted."""
    weight = layer.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.requires_grad
        and torch.is_grad_enabled()
        and weight.is_contiguous(memory_format=torch.channels_last)
        and not weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(features, weight)
        if weight.shape[0] < _FEW:
            return convolve_by_rows(features, weight, bias)
        return F.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # type: ignore[no-untyped-def]
        features, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        wants_features, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            _features_gradient(gradient, features, weight, padding=weight.shape[-1] // 2) if wants_features else None,
            _channels_last(weight_gradient(features, gradient, weight.shape[-1])) if wants_weight else None,
            gradient.sum((0, 2, 3)) if wants_bias else None,
        )


class _TransposedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(features, weight)
        return F.conv_transpose2d(features, weight, stride=2, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[no-untyped-def]
        features, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        wants_features, wants_weight = ctx.needs_input_grad
        return (
            F.conv2d(gradient, weight, stride=2, padding=1) if wants_features else None,
            _channels_last(transposed_weight_gradient(features, gradient)) if wants_weight else None,
        )


def convolve_by_rows(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.conv2d(features, weight, bias, padding="same")`` for odd kernels with few outputs.

    The rows of the kernel become outputs of their own, so that there are enough of them; then each is moved to its
    place and they are added up.
    """
    outputs, _, size = weight.shape[:3]
    by_row = F.conv2d(features, rows_of_kernel(weight), padding=size // 2)
    return sum_of_rows(by_row, size=size, outputs=outputs, bias=bias)


def rows_of_kernel(weight: Tensor) -> Tensor:
    """A kernel ``(D, C, size, width)`` as one a row high, ``(size·D, C, 1, width)``, its outputs filled up."""
    outputs, inputs, size, width = weight.shape
    rows = weight.permute(2, 0, 1, 3).reshape(size * outputs, inputs, 1, width)
    return F.pad(rows, (0, 0, 0, 0, 0, 0, 0, -len(rows) % _FEW)).contiguous(memory_format=torch.channels_last)


def sum_of_rows(by_row: Tensor, *, size: int, outputs: int, bias: Tensor | None) -> Tensor:
    """What the whole kernel gives, from what its rows give.

    Args:
        by_row: ``(N, size·D or more, H + size − 1, W)``, channels last: the image was padded by half the size.
        size: height of the kernel.
        outputs: its outputs, D.

    Returns:
        ``(N, D, H, W)``.
    """
    by_row = by_row.permute(0, 2, 3, 1).contiguous()  # not every library returns channels last
    count, height, width = by_row.shape[0], by_row.shape[1] - size + 1, by_row.shape[2]
    image, row, column, _ = by_row.stride()
    # Row k of the kernel belongs k rows further down: a diagonal through rows and outputs.
    moved = by_row.as_strided((count, height, width, size, outputs), (image, row, column, row + outputs, 1))
    result = moved.sum(3)
    return (result if bias is None else result + bias).permute(0, 3, 1, 2)


def weight_gradient(features: Tensor, gradient: Tensor, size: int) -> Tensor:
    """The gradient of the weight of a convolution that keeps the size.

    Args:
        features: ``(N, C, H, W)``, its input, channels last.
        gradient: ``(N, D, H, W)``, of its output, channels last.
        size: side of the kernel, odd.

    Returns:
        ``(D, C, size, size)``.
    """
    border = (0, 0, *[size // 2] * 4)
    inner, outer = features.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    if outer.shape[3] < inner.shape[3]:  # gather windows of the one with fewer channels
        return _correlate(F.pad(outer, border), inner, size).flip(0, 1).permute(2, 3, 0, 1)
    return _correlate(F.pad(inner, border), outer, size).permute(3, 2, 0, 1)


def transposed_weight_gradient(features: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the weight of a transposed convolution of kernel 4, stride 2, padding 1.

    Args:
        features: ``(N, C, H, W)``, its input, channels last.
        gradient: ``(N, D, 2·H, 2·W)``, of its output, channels last.

    Returns:
        ``(C, D, 4, 4)``.
    """
    padded = F.pad(gradient.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    count, height, width, outputs = padded.shape
    height, width = height // 2, width // 2
    phases = padded.view(count, height, 2, width, 2, outputs).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4 * outputs)
    # On the same grid as the phases, a neighbor is a constant number of rows away.
    inputs = F.pad(features.permute(0, 2, 3, 1), (0, 0, 0, 1, 0, 1)).flatten(0, 2)
    taps = phases.new_empty(2, 2, inputs.shape[1], 4 * outputs)
    for down in range(2):
        for right in range(2):
            away = down * width + right
            torch.mm(inputs[: len(inputs) - away].t(), phases[away:], out=taps[down, right])
    return taps.view(2, 2, -1, 2, 2, outputs).permute(2, 5, 0, 3, 1, 4).reshape(-1, outputs, 4, 4)


def _correlate(large: Tensor, small: Tensor, size: int) -> Tensor:
    """Sum over all places of a window of ``large`` times the values of ``small`` there.

    Args:
        large: ``(N, H + size − 1, W + size − 1, A)``, contiguous.
        small: ``(N, H, W, B)``.

    Returns:
        ``(size, size, A, B)``.
    """
    (count, height, width, _), channels = small.shape, large.shape[3]
    image, row, column, _ = large.stride()
    windows = large.as_strided((count, height, width, size, size * channels), (image, row, column, row, 1))
    sums = large.new_zeros(size * size * channels, small.shape[3])
    gathered = large.new_empty(min(_ROWS, height), width, size, size * channels)
    for index in range(count):
        for top in range(0, height, _ROWS):
            strip = windows[index, top : top + _ROWS]
            part = gathered[: len(strip)].copy_(strip).view(-1, len(sums))
            sums.addmm_(part.t(), small[index, top : top + _ROWS].reshape(len(part), -1))
    return sums.view(size, size, channels, -1)


def _features_gradient(gradient: Tensor, features: Tensor, weight: Tensor, *, padding: int) -> Tensor:
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, features, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    return found


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)
