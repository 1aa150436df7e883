"""Muon for convolutions: momentum whose steps are orthogonalized."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a quintic that, iterated, takes singular values to about 1
_ITERATIONS = 5
_ADAM_RMS = 0.2  # typical root mean square of Adam's steps, over its learning rate


class Muon(torch.optim.Optimizer):
    """Gradient descent along the momentum with all of its singular values made about equal.

    A kernel ``(outputs, inputs, height, width)`` counts as a matrix with a row per output. Adam moves such a matrix
    mostly along the few directions of its largest gradients, Muon along all of them. Steps have the root mean square
    of Adam's, so both can share a learning rate. ``torch.optim.Muon`` only takes parameters of two dimensions.

    Args:
        kernels: parameters with two or more dimensions.
        momentum: Nesterov momentum.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the size of a step, Liu et
    al. 2025 (arXiv 2502.16982), section 2.2.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every kernel that has a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[Tensor]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    alike.setdefault(kernel.shape, []).append(kernel)
                    if not self.state[kernel]:
                        self.state[kernel]["momentum"] = torch.zeros_like(kernel)
            for kernels in alike.values():  # together, since a GPU takes as long to launch a product as to compute it
                gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
                means = [self.state[kernel]["momentum"] for kernel in kernels]
                torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
                ahead = torch.stack(torch._foreach_lerp(gradients, means, group["momentum"])).flatten(2)
                size = _ADAM_RMS * math.sqrt(max(ahead.shape[1:]))
                steps = orthogonal(ahead).reshape(len(kernels), *kernels[0].shape)
                torch._foreach_add_(kernels, list(steps), alpha=-group["lr"] * size)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors whose singular values lie between about 0.7 and 1.2.

    Args:
        matrices: ``(..., rows, columns)``; zeros stay zeros.

    Source: the Newton-Schulz iteration of Jordan et al. 2024.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
