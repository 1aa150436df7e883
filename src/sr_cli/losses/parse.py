"""The losses by name: what ``--loss`` takes, and the weighted sum that it makes.

To add a loss, write a class that takes two images and returns a scalar, and give it a row in `LOSSES` or, if it looks
through VGG-16, in `FEATURE_LOSSES`.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from sr_cli.errors import UsageError
from sr_cli.losses.checkerboard import CheckerboardLoss, CheckerboardPairLoss
from sr_cli.losses.features import FeatureReconstructionLoss, RelativeFeatureLoss
from sr_cli.losses.pixel import ChromaLoss, DetailLoss, L1Loss, L2Loss, PsnrLoss
from sr_cli.networks.vgg import VGG_LAYERS, VGGFeatures

LOSSES: dict[str, dict[str, Callable[[int], nn.Module]]] = {
    "pixel": {
        "l1": lambda _: L1Loss(),
        "l2": lambda _: L2Loss(),
        "psnr": lambda _: PsnrLoss(),
        "chroma": lambda _: ChromaLoss(),
        "detail": lambda _: DetailLoss(),
    },
    "checkerboard": {
        "rms": CheckerboardLoss,
        "block": partial(CheckerboardLoss, cells=5),
        "pair": CheckerboardPairLoss,
    },
}
"""Kinds of losses, the parts of each, and how a part is made from the scale.

A loss that needs patches of a certain side has it, in pixels, as its ``min_size``.
"""

FEATURE_LOSSES: dict[str, Callable[[VGGFeatures, Mapping[str, float]], nn.Module]] = {
    "feature": FeatureReconstructionLoss,
    "relative": RelativeFeatureLoss,
    "luma": partial(RelativeFeatureLoss, luma=True),
}
"""Kinds of losses whose parts are layers of VGG-16, and how they are made from it and the layers' weights."""

TEACHER, ADVERSARIAL = "teacher", "adversarial"
"""Kinds of terms that are not distances from HR: the parts of the one, those of ``pixel`` and layers of VGG-16 as in
``relative``, are distances from the teacher's result; the other has no parts, and a discriminator computes it."""

PRESETS = {
    "johnson": "feature:relu2_2",
    "johnson+pixel": "feature:relu2_2+pixel:l2",
    "pixel": "pixel:l1",
    "psnr": "pixel:l1=0.1,psnr=0.02",
    "perceptual": "pixel:l1+relative:conv2_2=0.025,conv3_3=0.1+checkerboard:rms=2",
}
"""What ``--loss`` takes by name."""


Terms = Mapping[str, Mapping[str, float]]
"""The terms of a loss: by their kinds (of `LOSSES` or `FEATURE_LOSSES`, `TEACHER`, `ADVERSARIAL`) the weights of their
parts. The one part of ``adversarial`` has the same name."""


def parse_loss(text: str) -> Terms:
    """Read a loss such as ``feature:relu2_2=1,relu3_3=0.5+pixel:l1=10``, or the name of a preset.

    Terms are joined by ``+``; a weight that isn't given is 1.

    Raises:
        UsageError: an unknown term or part, a term that occurs twice, or a weight that isn't a number above 0.
    """
    parts_of = {**dict.fromkeys(FEATURE_LOSSES, tuple(VGG_LAYERS)), **{kind: tuple(LOSSES[kind]) for kind in LOSSES}}
    parts_of[TEACHER], parts_of[ADVERSARIAL] = (*LOSSES["pixel"], *VGG_LAYERS), (ADVERSARIAL,)
    terms: dict[str, dict[str, float]] = {}
    for part in PRESETS.get(text, text).split("+"):
        kind, _, details = part.strip().partition(":")
        if not details and kind.partition("=")[0].strip() == ADVERSARIAL:
            kind, details = ADVERSARIAL, kind
        if kind not in parts_of:
            raise UsageError(f"unknown loss {part!r}; choose {', '.join(PRESETS)}, or terms of {', '.join(parts_of)}")
        known = parts_of[kind]
        if not details:
            raise UsageError(f"the loss term {part!r} has no part; write {kind}:{known[0]}, for example")
        weights: dict[str, float] = {}
        for detail in details.split(","):
            name, _, weight = detail.strip().partition("=")
            if name not in known:
                raise UsageError(f"the loss term {part!r} has no part {name!r}; choose {', '.join(known)}")
            weights[name] = float(weight or 1) if re.fullmatch(r"(\d+\.?\d*(e-?\d+)?|\.\d+)?", weight) else 0
            if not weights[name]:
                raise UsageError(f"invalid weight {weight!r} in the loss term {part!r}: write a number above 0")
        if kind in terms:
            raise UsageError(f"the loss {text!r} has two {kind!r} terms; write one, its parts separated by commas")
        terms[kind] = weights
    return terms


def feature_layers(terms: Terms) -> list[str]:
    """The VGG-16 layers that the terms need; empty if they need no loss network."""
    layers = {part for kind in (*FEATURE_LOSSES, TEACHER) for part in terms.get(kind, ())}
    return sorted(layers & VGG_LAYERS.keys(), key=VGG_LAYERS.__getitem__)


class WeightedSum(nn.Module):
    """The terms of a loss, weighted but not yet added, so that they can be logged one by one.

    A term ``adversarial`` is not among them: it takes a discriminator, see `sr_cli.training.adversary`.

    Args:
        terms: see `parse_loss`.
        scale: of the network, for the checkerboard penalties.
        vgg_state: weights of VGG-16; needed if `feature_layers` isn't empty.

    Attributes:
        min_size: the smallest side of a patch that every term can work on, in pixels.
        needs_hr: whether a term compares with HR.

    Shapes:
        images ``(N, 3, H, W)`` in [0, 1] → the weighted scalar of each term, by name, such as ``feature``, ``pixel_l1``
        or ``teacher_l1``.
    """

    def __init__(self, terms: Terms, *, scale: int, vgg_state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        layers = feature_layers(terms)
        vgg = VGGFeatures(vgg_state or {}, layers) if layers else None
        self.terms = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for kind, weights in terms.items():
            through_vgg = {part: weight for part, weight in weights.items() if part in VGG_LAYERS}
            if through_vgg:
                assert vgg is not None
                name, like = (f"{TEACHER}_features", "relative") if kind == TEACHER else (kind, kind)
                self.terms[name], self.weights[name] = FEATURE_LOSSES[like](vgg, through_vgg), 1.0
            losses = LOSSES.get("pixel" if kind == TEACHER else kind, {})
            for part in (part for part in weights if part in losses):
                name = f"{kind}_{part}"
                self.terms[name], self.weights[name] = losses[part](scale), weights[part]
        self.min_size = max((getattr(loss, "min_size", 1) for loss in self.terms.values()), default=1)
        self.needs_hr = terms.keys() != {TEACHER}

    def forward(self, sr: Tensor, hr: Tensor, taught: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the terms.

        Args:
            sr: ``(N, 3, H, W)``.
            hr: of the first of them, maybe not of all.
            taught: the teacher's results; needed by a term ``teacher``.
        """
        known = sr[: len(hr)]
        values = {}
        for name, loss in self.terms.items():
            compared = (sr, taught) if name.startswith(f"{TEACHER}_") else (known, hr)
            values[name] = self.weights[name] * loss(*compared)
        return values
