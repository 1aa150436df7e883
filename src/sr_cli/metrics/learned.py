"""LPIPS and DISTS: distances between features of VGG-16, weighted to agree with people. Their weights are downloads."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import piq
import torch
from piq.perceptual import VGG16_LAYERS, ContentLoss
from torch import Tensor, nn

from sr_cli import weights
from sr_cli.errors import WeightsError
from sr_cli.metrics.fidelity import comparable
from sr_cli.networks.vgg import VGGFeatures, load_vgg_state

_LAYERS = [VGG16_LAYERS[f"relu{name}"] for name in ("1_2", "2_2", "3_3", "4_3", "5_3")]
_CHANNELS = [3, 64, 128, 256, 512, 512]


def lpips(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """LPIPS with VGG-16; lower is better. Arguments are those of `sr_cli.metrics.psnr`.

    Returns:
        ``(N,)``, 0 if the two are equal.

    Raises:
        ValueError: the shapes differ, or fewer than 16×16 pixels are left for four poolings.
        WeightsError: weights are missing or damaged.

    Source: Zhang et al. 2018.
    """
    return distance(_network("lpips", sr.device), sr, hr, shave=shave)


def dists(sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """DISTS; the rest is as for `lpips`. Source: Ding et al. 2020."""
    return distance(_network("dists", sr.device), sr, hr, shave=shave)


def distance(network: nn.Module, sr: Tensor, hr: Tensor, *, shave: int) -> Tensor:
    """What `lpips` and `dists` return, by their networks."""
    sr, hr = comparable(sr, hr, shave)
    if min(hr.shape[-2:]) < 16:
        raise ValueError("VGG-16 needs at least 16×16 pixels")
    found: Tensor = network(sr.float(), hr.float())
    return found.double().reshape(-1)


def lpips_network(vgg: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network of `lpips`; a `WeightsError` if a file holds something else.

    Args:
        vgg: VGG-16 in torchvision's layout (``features.N.weight``, ``features.N.bias``).
        path: piq's ``lpips_weights.pt``: five tensors ``(1, C, 1, 1)``.
    """
    weights = list(_tensors(path, Sequence))
    module: nn.Module = ContentLoss(
        _features(vgg), layers=_LAYERS, weights=weights, reduction="none", normalize_features=True
    )
    return module


def dists_network(vgg: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network of `dists`; ``path`` is piq's ``dists_weights.pt``: ``alpha`` and ``beta``, ``(1, 1475, 1, 1)``."""
    both = _tensors(path, Mapping)
    try:
        parts = [part for name in ("alpha", "beta") for part in torch.split(both[name], _CHANNELS, dim=1)]
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{path}: not the weights of DISTS") from error
    # The constructor of piq.DISTS downloads its weights, so we call its parent's.
    module: nn.Module = piq.DISTS.__new__(piq.DISTS)
    settings = {"reduction": "none", "replace_pooling": True, "allow_layers_weights_mismatch": True}
    ContentLoss.__init__(module, _features(vgg), layers=_LAYERS, weights=parts, **settings)
    return module


def _network(name: str, device: torch.device) -> nn.Module:
    return _load(name, weights.locate("vgg16", kind="loss network"), weights.locate(name, kind="metric"), device)


@functools.lru_cache(maxsize=2)
def _load(name: str, vgg: Path, path: Path, device: torch.device) -> nn.Module:
    build = {"lpips": lpips_network, "dists": dists_network}[name]
    return build(load_vgg_state(vgg), path).to(device)


def _features(vgg: Mapping[str, Tensor]) -> nn.Sequential:
    return VGGFeatures(vgg, ["relu5_3"]).features


def _tensors(path: Path, kind: type) -> Any:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch.load raise nearly everything
        raise WeightsError(f"{path}: not a weights file that can be read safely") from error
    if not isinstance(loaded, kind):
        raise WeightsError(f"{path}: not the weights that were expected")
    return loaded
