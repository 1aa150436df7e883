"""Convolutions for inference: the activation in the same pass over memory, the weights laid out once."""

import platform
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["none", "relu", "leaky_relu", "prelu"]

_SIDE = 64  # of the image that the layout of the weights is chosen for; any other runs as well


class FusedConv(nn.Module):
    """A convolution and the activation after it, for inference.

    On x86 CPUs, once `pack` was called, both are one step of oneDNN: the activation costs no pass over memory, and the
    weights aren't rearranged at every call. Results are those of PyTorch's layers to rounding.

    Args:
        convolution: stride 1; its parameters are shared, not copied.
        activation: what follows; ``prelu`` is a step of its own, as oneDNN's is not in PyTorch.
        slope: of ``leaky_relu``, below zero; of ``prelu``, one for each channel.
    """

    def __init__(
        self, convolution: nn.Conv2d, activation: Activation = "none", *, slope: float | nn.Parameter = 0.0
    ) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        assert not isinstance(convolution.padding, str)
        down, across = convolution.padding
        self.padding, self.activation, self.slope = (down, across), activation, slope
        self._packed: Tensor | None = None

    def pack(self) -> None:
        """Lay the weights out for this CPU where that is faster; they must not change afterwards."""
        weight = self.weight.detach()
        if _packs(weight):
            size = [1, weight.shape[1], _SIDE, _SIDE]
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(weight, self.padding, [1, 1], [1, 1], 1, size)

    def forward(self, features: Tensor) -> Tensor:
        return self._convolve(features, self.padding)

    def between_rows(self, features: Tensor) -> Tensor:
        """The same without padding above and below: ``(N, C, H, W)`` → ``(N, D, H − kernel height + 1, W)``."""
        return self._convolve(features, (0, self.padding[1]))

    def _convolve(self, features: Tensor, padding: tuple[int, int]) -> Tensor:
        result: Tensor
        if self._packed is not None and features.dtype == self._packed.dtype:  # under autocast they differ
            slope = [self.slope] if self.activation == "leaky_relu" else []
            activation = "none" if self.activation == "prelu" else self.activation
            result = torch.ops.mkldnn._convolution_pointwise(
                features, self._packed, self.bias, padding, [1, 1], [1, 1], 1, activation, slope, ""
            )
            return F.prelu(result, self.slope) if isinstance(self.slope, Tensor) else result
        result = F.conv2d(features, self.weight, self.bias, padding=padding)
        if isinstance(self.slope, Tensor):
            return F.prelu(result, self.slope)
        if self.activation == "leaky_relu":
            return F.leaky_relu_(result, self.slope)
        return result.relu_() if self.activation == "relu" else result

    def added_to(self, total: Tensor, features: Tensor, *, between_rows: bool = False) -> Tensor:
        """Add the result to a tensor in place, for layers without activation; as `between_rows` does, if wanted."""
        padding = (0, self.padding[1]) if between_rows else self.padding
        if self._packed is not None and total.dtype == features.dtype:
            return torch.ops.mkldnn._convolution_pointwise_.binary(  # type: ignore[no-any-return]
                total, features, self._packed, self.bias, padding, [1, 1], [1, 1], 1, "add", 1.0, None, [], None
            )
        return total.add_(self._convolve(features, padding))


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN computes with such weights here. Only tried on x86."""
    if weight.device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    operators: Any = torch.ops.mkldnn
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(operators, "_convolution_pointwise_"):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(operators._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
