"""The losses: feature reconstruction through VGG-16, pixels, the mesh penalty, and their weighted sum."""

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.errors import UsageError, WeightsError

_BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each of VGG-16's blocks; a pooling layer follows each block
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _vgg_layers() -> dict[str, int]:
    """Index in torchvision's ``vgg16().features`` of every ``convB_I`` and ``reluB_I``."""
    layers, index = {}, 0
    for block, convolutions in enumerate(_BLOCKS, start=1):
        for i in range(1, convolutions + 1):
            layers[f"conv{block}_{i}"], layers[f"relu{block}_{i}"] = index, index + 1
            index += 2
        index += 1
    return layers


VGG_LAYERS = _vgg_layers()
"""The layers that can be tapped: ``relu2_2`` is the paper's; ``conv2_2`` is the same before its ReLU."""


class VGGFeatures(nn.Module):
    """The frozen loss network: VGG-16 up to the deepest layer that is asked for.

    Always in eval mode, its weights take no gradient, and the ImageNet normalisation of the input happens inside.

    Args:
        state: weights with torchvision's keys ``features.N.weight`` and ``features.N.bias``; others are ignored.
        layers: names out of `VGG_LAYERS`.

    Raises:
        UsageError: a layer that VGG-16 doesn't have.
        WeightsError: a key is missing, or has another shape.

    Shapes:
        ``(N, 3, H, W)`` in [0, 1] → for each layer ``(N, C, H / 2ᵏ, W / 2ᵏ)``, k being the poolings before it.

    Source: Simonyan and Zisserman 2014, configuration D; torchvision's ``VGG16_Weights.IMAGENET1K_V1``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, state: Mapping[str, Tensor], layers: Iterable[str]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        for layer in self.layers:
            if layer not in VGG_LAYERS:
                raise UsageError(f"VGG-16 has no layer {layer!r}; it has {', '.join(VGG_LAYERS)}")
        self.features = _vgg_until(max(VGG_LAYERS[layer] for layer in self.layers))
        wanted = {f"features.{key}": key for key in self.features.state_dict()}
        if missing := [key for key in wanted if key not in state]:
            raise WeightsError(f"not VGG-16 weights in torchvision's layout: {missing[0]} is missing")
        try:
            self.features.load_state_dict({short: state[key].float() for key, short in wanted.items()})
        except RuntimeError as error:
            raise WeightsError("not VGG-16 weights in torchvision's layout: a layer has another shape") from error
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "VGGFeatures":  # noqa: ARG002
        """Stay in eval mode: the loss network doesn't learn."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        tapped = {VGG_LAYERS[layer]: layer for layer in self.layers}
        features, found = (image - self.mean) / self.std, {}
        for index, module in enumerate(self.features):
            features = module(features)
            if index in tapped:
                found[tapped[index]] = features
        return found


def _vgg_until(last: int) -> nn.Sequential:
    """torchvision's ``vgg16().features`` from its first layer to ``last``."""
    modules: list[nn.Module] = []
    channels = 3
    for block, convolutions in enumerate(_BLOCKS):
        width = min(64 * 2**block, 512)
        for _ in range(convolutions):
            modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        modules.append(nn.MaxPool2d(2))
    return nn.Sequential(*modules[: last + 1])


def load_vgg_state(path: Path) -> dict[str, Tensor]:
    """Read VGG-16 weights: torchvision's ``.pth``, or ``.safetensors`` with the same keys.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        raise WeightsError(f"{path}: not a weights file that can be read safely") from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: not VGG-16 weights in torchvision's layout")
    return state


class FeatureReconstructionLoss(nn.Module):
    """Squared distance between the loss network's features of SR and HR, mean over C·H·W, summed over layers.

    Args:
        vgg: the loss network, which taps the layers in ``weights``.
        weights: a weight for each layer.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → scalar, the mean over N. No gradient flows through ``hr``.

    Source: the report, equations 1 and 2 (all weights 1); Johnson et al. 2016, section 3.1.
    """

    def __init__(self, vgg: VGGFeatures, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.vgg, self.weights = vgg, dict(weights)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.vgg(hr)
        features = self.vgg(sr)
        distances = [weight * F.mse_loss(features[layer], target[layer]) for layer, weight in self.weights.items()]
        return torch.stack(distances).sum()


class RelativeFeatureLoss(nn.Module):
    """Absolute distance between the features of SR and HR over the mean magnitude of HR's, summed over layers.

    Being relative, its weights mean the same whichever VGG-16 file is used, however its features are scaled.

    Args:
        vgg: the loss network, which taps the layers in ``weights``.
        weights: a weight for each layer.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → scalar. No gradient flows through ``hr``.
    """

    def __init__(self, vgg: VGGFeatures, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.vgg, self.weights = vgg, dict(weights)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.vgg(hr)
        features = self.vgg(sr)
        distances = [
            weight * F.l1_loss(features[layer], target[layer]) / (target[layer].abs().mean() + 1e-8)
            for layer, weight in self.weights.items()
        ]
        return torch.stack(distances).sum()


class MeshPenalty(nn.Module):
    """RMS of what SR − HR has in common in every cell of scale × scale pixels: the mesh that feature losses paint.

    On a smooth input a network that works on LR cells can only paint the same pattern into each of them, and a
    feature loss rewards the pattern for its energy. The difference, averaged over the channels, is folded into its
    scale² phases, less the mean over the phases, and averaged over squares of `CELLS` × `CELLS` cells: texture that
    moves against the grid cancels out, a steady pattern stays.

    Args:
        scale: the side of a cell, in pixels.

    Shapes:
        two images ``(N, 3, H, W)``, H and W multiples of ``scale`` → scalar, zero for a difference without a pattern.
        No gradient flows through ``hr``.

    Source: ours; `sr_cli.metrics.mesh` is the measure that belongs to it.
    """

    CELLS = 15

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        difference = (sr - hr.detach()).mean(1, keepdim=True)
        phases = F.pixel_unshuffle(difference, self.scale)
        cells = min(self.CELLS, *phases.shape[-2:])
        steady = F.avg_pool2d(phases - phases.mean(1, keepdim=True), cells, stride=1)
        # The small constant keeps the gradient of the root finite where there is no mesh at all.
        return (steady.square().mean() + 1e-12).sqrt()


class PixelLoss(nn.Module):
    """Distance between the pixels of SR and HR, mean over C·H·W: squared (``l2``, the report's) or absolute (``l1``).

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → scalar. No gradient flows through ``hr``.

    Source: the report, section 3.3; Johnson et al. 2016, section 3.2.
    """

    def __init__(self, norm: Literal["l1", "l2"] = "l2") -> None:
        super().__init__()
        self.norm = norm

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        distance = F.l1_loss if self.norm == "l1" else F.mse_loss
        return distance(sr, hr.detach())


@dataclass(frozen=True)
class LossTerm:
    """One term of a loss: its kind (a key of `TERMS`), and a weight for each layer or norm."""

    kind: str
    weights: dict[str, float]


TERMS: dict[str, tuple[str, ...]] = {
    "feature": tuple(VGG_LAYERS),
    "relative": tuple(VGG_LAYERS),
    "pixel": ("l1", "l2"),
    "mesh": ("rms",),
}
"""The terms of a loss, and what each can be made of: layers or norms."""

PRESETS = {
    "report": "feature:relu2_2",
    "report+pixel": "feature:relu2_2+pixel:l2",
    "pixel": "pixel:l1",
    "perceptual": "pixel:l1+relative:conv2_2=0.025,conv3_3=0.1+mesh:rms=2",
}
"""What ``--loss`` takes by name."""


def parse_loss(text: str) -> tuple[LossTerm, ...]:
    """Read a loss as the command line writes it: ``feature:relu2_2=1,relu3_3=0.5+pixel:l1=10``, or a preset's name.

    Terms are joined by ``+``; a weight that isn't given is 1.

    Raises:
        UsageError: the text names a term, layer or norm that doesn't exist, or a weight that is no number.
    """
    terms: list[LossTerm] = []
    for part in PRESETS.get(text, text).split("+"):
        kind, _, details = part.strip().partition(":")
        if kind not in TERMS:
            raise UsageError(f"unknown loss {part!r}; choose {', '.join(PRESETS)}, or terms: {', '.join(TERMS)}")
        known = TERMS[kind]
        weights: dict[str, float] = {}
        for detail in details.split(","):
            name, _, weight = detail.strip().partition("=")
            if name not in known:
                raise UsageError(f"loss term {part!r} knows no {name!r}; it knows {', '.join(known)}")
            if not re.fullmatch(r"\d+\.?\d*(e-?\d+)?|\.\d+", weight or "1"):
                raise UsageError(f"{weight!r} in the loss term {part!r} is not a weight: write a number of 0 or more")
            weights[name] = float(weight or 1)
        if kind in (term.kind for term in terms):
            raise UsageError(f"the loss {text!r} has two {kind!r} terms; write one, its parts separated by commas")
        terms.append(LossTerm(kind, weights))
    return tuple(terms)


def feature_layers(terms: Iterable[LossTerm]) -> list[str]:
    """The VGG layers that the terms need; empty where no loss network is needed."""
    layers = {layer for term in terms if term.kind in ("feature", "relative") for layer in term.weights}
    return sorted(layers, key=VGG_LAYERS.__getitem__)


class WeightedSum(nn.Module):
    """The sum of loss terms; its parts are kept apart so that they can be shown.

    Args:
        terms: see `parse_loss`.
        scale: of the network, for the mesh penalty.
        vgg: the loss network; needed where `feature_layers` isn't empty.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → for each term, by its name, its weighted scalar.
    """

    def __init__(self, terms: Iterable[LossTerm], *, scale: int, vgg: VGGFeatures | None = None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for term in terms:
            if term.kind in ("feature", "relative"):
                if vgg is None:
                    raise ValueError("a feature loss needs a loss network")
                through_vgg = FeatureReconstructionLoss if term.kind == "feature" else RelativeFeatureLoss
                self.terms[term.kind], self.weights[term.kind] = through_vgg(vgg, term.weights), 1.0
            elif term.kind == "mesh":
                self.terms["mesh"], self.weights["mesh"] = MeshPenalty(scale), term.weights["rms"]
            else:
                for norm, weight in term.weights.items():
                    self.terms[f"pixel_{norm}"] = PixelLoss(norm)  # type: ignore[arg-type]
                    self.weights[f"pixel_{norm}"] = weight

    def forward(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return {name: self.weights[name] * term(sr, hr) for name, term in self.terms.items()}
