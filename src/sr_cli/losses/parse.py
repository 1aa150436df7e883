"""The losses: feature reconstruction through VGG-16, pixels, the checkerboard penalties, and their weighted sum."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.errors import UsageError
from sr_cli.networks.vgg import VGG_LAYERS, VGGFeatures


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
        distances = [weight * _mean_square(features[layer], target[layer]) for layer, weight in self.weights.items()]
        return torch.stack(distances).sum()


def _mean_square(features: Tensor, target: Tensor) -> Tensor:
    """``F.mse_loss``, without a float32 copy of large features in half precision; the mean is float32 all the same."""
    if features.dtype != torch.bfloat16:
        return F.mse_loss(features, target)
    return (features - target).square().mean(dtype=torch.float32)


class RelativeFeatureLoss(nn.Module):
    """Absolute distance between the features of SR and HR over the mean magnitude of HR's, summed over layers.

    Being relative, its weights mean the same whichever VGG-16 file is used, however its features are scaled.

    Args:
        vgg: the loss network, which taps the layers in ``weights``.
        weights: a weight for each layer.
        luma: whether the loss network sees both images in grey. It then asks for structure only and leaves colors to
            a pixel loss: features of color images are content with colors that are slightly wrong.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → scalar. No gradient flows through ``hr``.
    """

    def __init__(self, vgg: VGGFeatures, weights: Mapping[str, float], *, luma: bool = False) -> None:
        super().__init__()
        self.vgg, self.weights, self.luma = vgg, dict(weights), luma

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        if self.luma:
            sr, hr = (_luma(image).expand(-1, 3, -1, -1) for image in (sr, hr))
        with torch.no_grad():
            target = self.vgg(hr)
        features = self.vgg(sr)
        distances = [
            weight * F.l1_loss(features[layer], target[layer]) / (target[layer].abs().mean() + 1e-8)
            for layer, weight in self.weights.items()
        ]
        return torch.stack(distances).sum()


def _luma(images: Tensor) -> Tensor:
    """``(N, 3, H, W)`` → ``(N, 1, H, W)``, in full range."""
    weights = torch.tensor((0.299, 0.587, 0.114), dtype=images.dtype, device=images.device)  # ITU-R BT.601
    return (images * weights.view(3, 1, 1)).sum(1, keepdim=True)


def self_ensemble_loss(sr: Tensor, twin: Tensor, hr: Tensor) -> Tensor:
    """How far a result is from another of the same image, turned or mirrored for it, as a part of its error.

    The mean over the eight symmetries of a square is closer to the truth than any one result
    (``sr upscale --ensemble``). Whoever learns to agree with its own results for turned images learns that mean, with
    a target that has much less noise than a photo; see ``sr train --symmetry``.

    Args:
        sr: what learns.
        twin: the result for the turned image, turned back.
        hr: the truth, that the error is measured by.

    Shapes:
        three images ``(N, 3, H, W)`` in [0, 1] → scalar: the squared distance of the first two over that of the first
        and the last, which counts as a constant; the mean over N.

    Source: ours; self-ensemble, Lim et al. 2017 (EDSR), section 3.4.
    """
    error = (sr.detach() - hr).float().square().mean((1, 2, 3)) + PixelLoss.FLOOR
    return ((sr - twin.detach()).float().square().mean((1, 2, 3)) / error).mean()


class CheckerboardLoss(nn.Module):
    """RMS of what SR − HR has in common in every cell of scale × scale pixels: the mesh that feature losses paint.

    On a smooth input a network that works on LR cells can only paint the same pattern into each of them, and a
    feature loss rewards the pattern for its energy. The difference, averaged over the channels, is folded into its
    scale² phases, less the mean over the phases, and averaged over squares of cells: texture that moves against the
    grid cancels out, a steady pattern stays.

    Args:
        scale: the side of a cell, in pixels.
        cells: the side of a square, in cells. Squares of `CELLS` (``rms``) find a mesh over a surface. In a JPEG
            picture dots may change their sign from one block of 8×8 pixels to the next, and cancel out; squares of
            `BLOCK_CELLS` (``block``) find those, and suppress a little texture with them.

    Shapes:
        two images ``(N, 3, H, W)``, H and W multiples of ``scale`` → scalar, zero for a difference without a pattern.
        No gradient flows through ``hr``.

    Source: ours; `sr_cli.metrics.checkerboard` is the measure that belongs to it.
    """

    CELLS = 15
    BLOCK_CELLS = 5

    def __init__(self, scale: int, cells: int = CELLS) -> None:
        super().__init__()
        self.scale, self.cells = scale, cells

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        # The small constant keeps the gradient of the root finite where there is no pattern at all.
        return (_steady(sr, hr, self.scale, self.cells).square().mean() + 1e-12).sqrt()


class CheckerboardPairLoss(nn.Module):
    """RMS, square by square, of what SR − HR has in common in every pair of cells: patterns of twice the scale.

    A network can amplify the faintest noise of a smooth area into a pattern that alternates from one LR pixel to the
    next, which a feature loss rewards, too. `CheckerboardLoss` doesn't see it, as its sign changes from cell to cell.
    Here a period is two cells, and the root is taken in each square of `PAIRS` × `PAIRS` periods before the mean: a
    level in a smooth area counts as much as a level in texture.

    Args:
        scale: the side of a cell, in pixels.

    Shapes:
        two images ``(N, 3, H, W)``, H and W twice ``scale`` at least → scalar, zero for a difference without a pattern.
        No gradient flows through ``hr``. What is left over of the last period isn't looked at.

    Source: ours; ``docs/research/faint_noise.py`` shows what it is for.
    """

    PAIRS = 5

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.period = 2 * scale

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (_steady(sr, hr, self.period, self.PAIRS).square().mean(1) + 1e-12).sqrt().mean()


def _steady(sr: Tensor, hr: Tensor, period: int, cells: int) -> Tensor:
    """SR − HR in its period² phases, less their mean, each averaged over every square of cells × cells periods."""
    difference = (sr - hr.detach()).mean(1, keepdim=True)
    height, width = (side // period * period for side in difference.shape[-2:])
    phases = F.pixel_unshuffle(difference[..., :height, :width], period)
    cells = min(cells, *phases.shape[-2:])
    return F.avg_pool2d(phases - phases.mean(1, keepdim=True), cells, stride=1)


class PixelLoss(nn.Module):
    """Distance between the pixels of SR and HR, mean over C·H·W: squared (``l2``, the report's) or absolute (``l1``).

    Or what PSNR measures (``psnr``): ln(1 + d / 10⁻⁵), d the squared distance of luma, each patch by itself. The
    logarithm makes a tenth off the error of a smooth patch worth as much as a tenth off that of a textured one. It
    says nothing of colors, and wants ``l1`` beside it. Or the absolute distance of Cb and Cr alone (``chroma``): beside
    that of luma, a tint of one level in a grey wall is next to nothing to ``l1``.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → scalar. No gradient flows through ``hr``.

    Source: the report, section 3.3; Johnson et al. 2016, section 3.2; ``psnr``, Chen et al. 2021 (HINet, arXiv
    2105.06086), section 3.3, there of RGB.
    """

    CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # Cb and Cr of R, G and B, full range (JPEG)
    LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # ITU-R BT.601, as the literature measures PSNR
    FLOOR = 1e-5  # of the squared distance: 50 dB

    def __init__(self, norm: Literal["l1", "l2", "psnr", "chroma"] = "l2") -> None:
        super().__init__()
        self.norm = norm

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        if self.norm == "psnr":
            luma = torch.tensor(self.LUMA, device=sr.device).view(3, 1, 1)
            squares = ((sr - hr.detach()).float() * luma).sum(1).square().mean((1, 2))
            return (squares / self.FLOOR).log1p().mean()
        if self.norm == "chroma":
            chroma = torch.tensor(self.CHROMA, device=sr.device)
            return torch.einsum("dc,nchw->ndhw", chroma, (sr - hr.detach()).float()).abs().mean()
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
    "luma": tuple(VGG_LAYERS),
    "pixel": ("l1", "l2", "psnr", "chroma"),
    "checkerboard": ("block", "pair", "rms"),
}
"""The terms of a loss, and what each can be made of: layers or norms."""

THROUGH_VGG = ("feature", "relative", "luma")
"""The terms that look through a loss network."""

PRESETS = {
    "johnson": "feature:relu2_2",
    "johnson+pixel": "feature:relu2_2+pixel:l2",
    "pixel": "pixel:l1",
    "psnr": "pixel:l1=0.1,psnr=0.02",
    "perceptual": "pixel:l1+relative:conv2_2=0.025,conv3_3=0.1+checkerboard:rms=2",
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
        if not details:
            raise UsageError(f"the loss term {part!r} doesn't say of what: write {kind}:{known[-1]}, say")
        weights: dict[str, float] = {}
        for detail in details.split(","):
            name, _, weight = detail.strip().partition("=")
            if name not in known:
                raise UsageError(f"loss term {part!r} knows no {name!r}; it knows {', '.join(known)}")
            weights[name] = float(weight or 1) if re.fullmatch(r"(\d+\.?\d*(e-?\d+)?|\.\d+)?", weight) else 0
            if not weights[name]:
                raise UsageError(f"{weight!r} in the loss term {part!r} is not a weight: write a number above 0")
        if kind in (term.kind for term in terms):
            raise UsageError(f"the loss {text!r} has two {kind!r} terms; write one, its parts separated by commas")
        terms.append(LossTerm(kind, weights))
    return tuple(terms)


def feature_layers(terms: Iterable[LossTerm]) -> list[str]:
    """The VGG layers that the terms need; empty where no loss network is needed."""
    layers = {layer for term in terms if term.kind in THROUGH_VGG for layer in term.weights}
    return sorted(layers, key=VGG_LAYERS.__getitem__)


class WeightedSum(nn.Module):
    """The sum of loss terms; its parts are kept apart so that they can be shown.

    Args:
        terms: see `parse_loss`.
        scale: of the network, for the checkerboard penalties.
        vgg: the loss network; needed where `feature_layers` isn't empty.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → for each term, by its name, its weighted scalar.
    """

    def __init__(self, terms: Iterable[LossTerm], *, scale: int, vgg: VGGFeatures | None = None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for term in terms:
            if term.kind in THROUGH_VGG:
                if vgg is None:
                    raise ValueError("a feature loss needs a loss network")
                self.weights[term.kind] = 1.0
                if term.kind == "feature":
                    self.terms["feature"] = FeatureReconstructionLoss(vgg, term.weights)
                else:
                    self.terms[term.kind] = RelativeFeatureLoss(vgg, term.weights, luma=term.kind == "luma")
            elif term.kind == "checkerboard":
                for name, part, penalty in (
                    ("checkerboard", "rms", CheckerboardLoss(scale)),
                    ("checkerboard_block", "block", CheckerboardLoss(scale, CheckerboardLoss.BLOCK_CELLS)),
                    ("checkerboard_pair", "pair", CheckerboardPairLoss(scale)),
                ):
                    if part in term.weights:
                        self.terms[name], self.weights[name] = penalty, term.weights[part]
            else:
                for norm, weight in term.weights.items():
                    self.terms[f"pixel_{norm}"] = PixelLoss(norm)  # type: ignore[arg-type]
                    self.weights[f"pixel_{norm}"] = weight

    def forward(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return {name: self.weights[name] * term(sr, hr) for name, term in self.terms.items()}
