"""Kernels of the same convolutions at half the resolution, where the vector units have more channels to work on.

A pixel shuffle and its inverse move between an image and its 2 × 2 phases as channels. Transposed convolutions and
convolutions with few outputs run much faster on the phases, and the arithmetic is the same.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def transposed_kernel(weight: Tensor) -> Tensor:
    """The 2×2 kernel of the convolution that computes a transposed convolution of kernel 4, stride 2, padding 1.

    Pad the input by 1, convolve, shuffle the pixels by 2, and cut 1 pixel off every side.

    Args:
        weight: ``(C, D, 4, 4)``, of ``nn.ConvTranspose2d``.

    Returns:
        ``(4·D, C, 2, 2)``, the four phases of each of the D channels side by side.
    """
    inputs, outputs = weight.shape[:2]
    # Output 2p + a is reached from input p − 1 + u by tap 2 + a − 2u.
    taps = torch.tensor([[2, 0], [3, 1]], device=weight.device)
    kernel = weight[:, :, taps[:, None, :, None], taps[None, :, None, :]]  # (C, D, a, b, u, v)
    return kernel.permute(1, 2, 3, 0, 4, 5).reshape(4 * outputs, inputs, 2, 2)


def unshuffled_kernel(weight: Tensor) -> Tensor:
    """The kernel of the convolution that maps the 2 × 2 phases of an input to those of the output.

    Args:
        weight: ``(D, C, K, K)``, K odd, of a convolution that keeps the size.

    Returns:
        ``(4·D, 4·C, L, L)``, channels in the order of ``pixel_unshuffle``; to be used with padding ``L // 2``.
    """
    outputs, inputs = weight.shape[:2]
    down = unshuffled_rows(weight)
    kernel = unshuffled_rows(down.transpose(2, 3)).transpose(2, 3)  # phases: across, down, channel
    length = kernel.shape[-1]
    kernel = kernel.view(2, 2, outputs, 2, 2, inputs, length, length)
    return kernel.permute(2, 1, 0, 5, 4, 3, 6, 7).reshape(4 * outputs, 4 * inputs, length, length)


def unshuffled_rows(weight: Tensor) -> Tensor:
    """The kernel of the convolution that maps pairs of rows of an input, as channels, to those of the output.

    Args:
        weight: ``(D, C, K, W)``, K odd, of a convolution that keeps the height.

    Returns:
        ``(2·D, 2·C, L, W)``, first the channels of the upper row; to be used with padding ``L // 2`` of the height.
    """
    outputs, inputs, size, width = weight.shape
    radius = size // 2
    reach = (radius + 1) // 2
    tall = F.pad(weight, (0, 0, *(2 * reach + 1 - radius,) * 2))  # so that every tap that is asked for exists
    phase, cell = torch.arange(2, device=weight.device), torch.arange(-reach, reach + 1, device=weight.device)
    # Phase s of the output sees phase a of the cell at distance t by the tap at distance 2t + a − s.
    taps = 2 * cell[None, None, :] + phase[None, :, None] - phase[:, None, None] + 2 * reach + 1  # (s, a, t)
    kernel = tall[:, :, taps]  # (D, C, s, a, t, W)
    return kernel.permute(2, 0, 3, 1, 4, 5).reshape(2 * outputs, 2 * inputs, 2 * reach + 1, width)
