"""The eight symmetries of a square: four turns, each as it is and mirrored."""

import torch
from torch import Tensor

COUNT = 8


def turned(images: Tensor, symmetry: int) -> Tensor:
    """``(N, C, H, W)`` → ``(N, C, H, W)`` or ``(N, C, W, H)``; 0 changes nothing."""
    images = torch.rot90(images, symmetry % 4, (-2, -1))
    return images.flip(-1) if symmetry >= 4 else images


def turned_back(images: Tensor, symmetry: int) -> Tensor:
    """Undo `turned`."""
    images = images.flip(-1) if symmetry >= 4 else images
    return torch.rot90(images, -(symmetry % 4), (-2, -1))
