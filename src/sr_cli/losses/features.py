"""Feature losses: distances between what VGG-16 sees in SR and in HR.

All take two images ``(N, 3, H, W)`` in [0, 1] and return a scalar. No gradient flows through ``hr``.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.imageops.color import full_range_luma
from sr_cli.networks.vgg import VGGFeatures


class FeatureReconstructionLoss(nn.Module):
    """Squared distance between the features of SR and HR, mean over N·C·H·W, summed over layers.

    Args:
        vgg: the loss network, with the layers in ``weights``.
        weights: a weight for each layer.

    Source: Johnson et al. 2016, section 3.1; the Bordeaux report, equations 1 and 2 (all weights 1).
    """

    def __init__(self, vgg: VGGFeatures, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.vgg, self.weights = vgg, dict(weights)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.vgg(hr)
        features = self.vgg(sr)
        distances = [self._distance(features[layer], target[layer], weight) for layer, weight in self.weights.items()]
        return torch.stack(distances).sum()

    def _distance(self, features: Tensor, target: Tensor, weight: float) -> Tensor:
        if features.dtype == torch.bfloat16:  # a float32 mean, but no float32 copy of the features
            return weight * (features - target).square().mean(dtype=torch.float32)
        return weight * F.mse_loss(features, target)


class RelativeFeatureLoss(FeatureReconstructionLoss):
    """Absolute distance between the features of SR and HR over the mean magnitude of HR's, summed over layers.

    Being relative, it doesn't depend on how a VGG-16 file scales its features: weights mean the same with every file.

    Args:
        luma: compare the images in gray, so that only structure counts and a pixel loss decides the colors. Features
            of color images tolerate colors that are slightly wrong.
    """

    def __init__(self, vgg: VGGFeatures, weights: Mapping[str, float], *, luma: bool = False) -> None:
        super().__init__(vgg, weights)
        self.luma = luma

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        if self.luma:
            sr, hr = (full_range_luma(image).expand(-1, 3, -1, -1) for image in (sr, hr))
        return super().forward(sr, hr)

    def _distance(self, features: Tensor, target: Tensor, weight: float) -> Tensor:
        return weight * F.l1_loss(features, target) / (target.abs().mean() + 1e-8)
