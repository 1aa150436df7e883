"""Discriminators: networks that learn to tell SR from HR, for the loss term ``adversarial``.

All map ``(N, 3, H, W)`` in [0, 1] to logits ``(N, 1, h, w)``: above zero for what looks like HR. They are part of a
training only; no weights file holds one.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

_SLOPE = 0.2  # of the leaky ReLUs, below zero


class UNetDiscriminator(nn.Module):
    """Judges every pixel, from a neighborhood of about 100 pixels: h = H, w = W.

    Three halvings and three doublings with skip connections; spectral normalization in all layers but the first and
    the last. H and W are 8 or more.

    Args:
        width: channels at full resolution; they double at every halving.

    Source: Wang et al. 2021 (Real-ESRGAN, arXiv 2107.10833), section 3.3; Schönfeld et al. 2020 (arXiv 2002.12655).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(_normalized(fine, coarse, 4, stride=2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(_normalized(2 * fine, fine, 3) for fine in reversed(widths[:-1]))
        self.last = nn.Sequential(
            _normalized(width, width, 3),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _normalized(width, width, 3),
            nn.LeakyReLU(_SLOPE, inplace=True),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        features = F.leaky_relu(self.first(image), _SLOPE)
        skips = []
        for layer in self.down:
            skips.append(features)
            features = F.leaky_relu(layer(features), _SLOPE)
        for layer, skip in zip(self.up, reversed(skips), strict=True):
            # The convolution comes before the doubling, where it has a quarter of the pixels to work on.
            features = F.leaky_relu(layer(features), _SLOPE)
            features = F.interpolate(features, size=skip.shape[-2:], mode="bilinear", align_corners=False) + skip
        logits: Tensor = self.last(features)
        return logits


class PatchDiscriminator(nn.Module):
    """Judges patches of 70×70 pixels, one every 8 pixels; a third of the arithmetic of `UNetDiscriminator`.

    Args:
        width: channels of the first layer; they double in each of the next three.

    Source: Isola et al. 2017 (pix2pix, arXiv 1611.07004), section 3.2.2, there with batch normalization.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _normalized(width, 2 * width, 4, stride=2),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _normalized(2 * width, 4 * width, 4, stride=2),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _normalized(4 * width, 8 * width, 4),
            nn.LeakyReLU(_SLOPE, inplace=True),
            nn.Conv2d(8 * width, 1, 4, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits


DISCRIMINATORS: dict[str, Callable[[int], nn.Module]] = {"unet": UNetDiscriminator, "patch": PatchDiscriminator}
"""What ``--discriminator`` takes, and how it is made from the width."""


def _normalized(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Module:
    """A convolution with spectral normalization and no bias."""
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=1, bias=False))
