"""The eight symmetries of a square: rotations by 0, 90, 180 and 270 degrees, each with and without a flip."""

import torch
from torch import Tensor

COUNT = 8


def transform(images: Tensor, index: int) -> Tensor:
    """Symmetry ``index`` (0 … 7) of ``(N, C, H, W)``, which becomes ``(N, C, H, W)`` or ``(N, C, W, H)``.

    0 is the identity.
    """
    images = torch.rot90(images, index % 4, (-2, -1))
    return images.flip(-1) if index >= 4 else images


def inverse_transform(images: Tensor, index: int) -> Tensor:
    """Undo `transform`."""
    images = images.flip(-1) if index >= 4 else images
    return torch.rot90(images, -(index % 4), (-2, -1))
