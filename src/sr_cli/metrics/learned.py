"""LPIPS and DISTS: distances between VGG-16's features, weighted as people judged. Their weights are downloads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import piq
import torch
from piq.perceptual import VGG16_LAYERS, ContentLoss
from torch import Tensor, nn

from sr_cli.errors import WeightsError
from sr_cli.metrics.fidelity import eight_bit, same_size, shaved
from sr_cli.networks.vgg import VGGFeatures

_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_CHANNELS = [3, 64, 128, 256, 512, 512]


def lpips(vgg: Mapping[str, Tensor], weights: Path) -> nn.Module:
    """LPIPS-VGG, whose file has five tensors ``(1, C, 1, 1)``.

    Args:
        vgg: VGG-16 in torchvision's layout (``features.N.weight``, ``features.N.bias``).
        weights: piq's ``lpips_weights.pt``.

    Returns:
        A module for `learned_distance`; lower is better.

    Raises:
        WeightsError: a file is not what it should be.

    Source: Zhang et al. 2018.
    """
    layers = _tensors(weights, Sequence)
    module: nn.Module = ContentLoss(
        _features(vgg), layers=_indices(), weights=list(layers), reduction="none", normalize_features=True
    )
    return module


def dists(vgg: Mapping[str, Tensor], weights: Path) -> nn.Module:
    """DISTS, whose file has the tensors ``alpha`` and ``beta``, ``(1, 1475, 1, 1)``.

    Args, Returns and Raises are those of `lpips`; the file is piq's ``dists_weights.pt``.

    Source: Ding et al. 2020.
    """
    both = _tensors(weights, Mapping)
    try:
        parts = [part for name in ("alpha", "beta") for part in torch.split(both[name], _CHANNELS, dim=1)]
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{weights}: not the weights of DISTS") from error
    # piq.DISTS downloads in its constructor, by its own means: we hand the weights to its parent's.
    module: nn.Module = piq.DISTS.__new__(piq.DISTS)
    ContentLoss.__init__(
        module, _features(vgg), layers=_indices(), weights=parts, replace_pooling=True, reduction="none",
        allow_layers_weights_mismatch=True,
    )  # fmt: skip
    return module


def learned_distance(module: nn.Module, sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """LPIPS or DISTS of pictures ``(N, 3, H, W)`` in [0, 1], rounded to 8 bit and shaved: ``(N,)``.

    Raises:
        ValueError: the shapes differ, or less than 16×16 pixels are left for four poolings.
    """
    same_size(sr, hr)
    sr, hr = shaved(eight_bit(sr), shave), shaved(eight_bit(hr), shave)
    if min(hr.shape[-2:]) < 16:
        raise ValueError("VGG-16 needs at least 16×16 pixels")
    distance: Tensor = module(sr.float(), hr.float())
    return distance.double().reshape(-1)


def _features(vgg: Mapping[str, Tensor]) -> nn.Sequential:
    return VGGFeatures(vgg, _LAYERS[-1:]).features


def _indices() -> list[str]:
    return [VGG16_LAYERS[layer] for layer in _LAYERS]


def _tensors(path: Path, kind: type) -> Any:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch.load raise nearly everything
        raise WeightsError(f"{path}: not a weights file that can be read safely") from error
    if not isinstance(loaded, kind):
        raise WeightsError(f"{path}: not the weights that were expected")
    return loaded
