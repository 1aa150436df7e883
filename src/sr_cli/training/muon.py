"""Muon: momentum whose steps have been made orthogonal, for the kernels of convolutions."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic whose repetition takes singular values to about 1
_REPETITIONS = 5
_RMS_OF_ADAM = 0.2  # what the root mean square of Adam's steps over its learning rate usually is


class Muon(torch.optim.Optimizer):
    """Gradient descent along the momentum with all of its singular values made equal.

    A kernel ``(outputs, inputs, height, width)`` is taken as a matrix with a row for each output. Adam's steps move
    such a matrix mostly in the few directions that its gradient is largest in; Muon moves it in all of them. A step's
    root mean square is that of Adam's, so both may have the same learning rate.

    Args:
        kernels: parameters of two dimensions or more.
        lr: learning rate.
        momentum: of the gradient, as Nesterov has it.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the size of a step, Liu et
    al. 2025 (arXiv 2502.16982), section 2.2.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every kernel that has a gradient."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                if not self.state[kernel]:
                    self.state[kernel]["momentum"] = torch.zeros_like(kernel)
                mean = self.state[kernel]["momentum"]
                mean.lerp_(kernel.grad, 1 - group["momentum"])
                ahead = kernel.grad.lerp(mean, group["momentum"]).flatten(1)
                size = _RMS_OF_ADAM * math.sqrt(max(ahead.shape))
                kernel.add_(orthogonal(ahead).reshape(kernel.shape), alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors whose singular values lie between about 0.7 and 1.2.

    Args:
        matrix: ``(rows, columns)``; zeros stay zeros.

    Source: the Newton-Schulz iteration of Jordan et al. 2024.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.t() if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_REPETITIONS):
        square = x @ x.t()
        x = a * x + (b * square + c * square @ square) @ x
    return x.t() if tall else x
