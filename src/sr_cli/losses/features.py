"""Feature losses: distances between what VGG-16 sees in SR and in HR."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.imageops.color import full_range_luma
from sr_cli.networks.vgg import VGGFeatures


class FeatureReconstructionLoss(nn.Module):
    """Squared distance between the features of SR and HR, mean over C·H·W, summed over layers.

    Args:
        vgg: the loss network, with the layers in ``weights``.
        weights: a weight for each layer.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → scalar, the mean over N. No gradient flows through ``hr``.

    Source: Johnson et al. 2016, section 3.1; the Bordeaux report, equations 1 and 2 (all weights 1).
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
    """``F.mse_loss``; for bfloat16 without a float32 copy of the features, but with a float32 mean."""
    if features.dtype != torch.bfloat16:
        return F.mse_loss(features, target)
    return (features - target).square().mean(dtype=torch.float32)


class RelativeFeatureLoss(nn.Module):
    """Absolute distance between the features of SR and HR over the mean magnitude of HR's, summed over layers.

    Being relative, it doesn't depend on how a VGG-16 file scales its features: weights mean the same with every file.

    Args:
        vgg: the loss network, with the layers in ``weights``.
        weights: a weight for each layer.
        luma: compare the images in gray, so that only structure counts and a pixel loss decides the colors. Features
            of color images tolerate colors that are slightly wrong.

    Shapes:
        two images ``(N, 3, H, W)`` in [0, 1] → scalar. No gradient flows through ``hr``.
    """

    def __init__(self, vgg: VGGFeatures, weights: Mapping[str, float], *, luma: bool = False) -> None:
        super().__init__()
        self.vgg, self.weights, self.luma = vgg, dict(weights), luma

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        if self.luma:
            sr, hr = (full_range_luma(image).expand(-1, 3, -1, -1) for image in (sr, hr))
        with torch.no_grad():
            target = self.vgg(hr)
        features = self.vgg(sr)
        distances = [
            weight * F.l1_loss(features[layer], target[layer]) / (target[layer].abs().mean() + 1e-8)
            for layer, weight in self.weights.items()
        ]
        return torch.stack(distances).sum()
