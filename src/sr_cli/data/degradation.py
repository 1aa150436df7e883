"""How LR is made from HR."""

import numpy as np
import torch
from torch import Tensor

from sr_cli.config import Degradation
from sr_cli.data.real_degradation import degrade_real
from sr_cli.degradation_table import PHOTO, RealDegradation
from sr_cli.imageops.gaussian import gaussian_blur
from sr_cli.imageops.resize import resize


def degrade(
    hr: Tensor,
    scale: int,
    *,
    kind: Degradation = "paper",
    sigma: float = 1.0,
    rng: np.random.Generator | None = None,
    real: RealDegradation | None = None,
    log: list[str] | None = None,
) -> Tensor:
    """Make the LR image of an HR image.

    Args:
        hr: ``(N, 3, H, W)`` in [0, 1]; H and W are multiples of ``scale``.
        kind: ``bicubic`` downsamples like MATLAB's ``imresize``, as the literature's benchmarks do; ``paper`` applies
            a Gaussian blur first; ``real`` draws from a table what cameras, phones and websites do, for each image
            anew, and ``photo`` from the table `PHOTO`.
        sigma: standard deviation of the ``paper`` blur, in HR pixels.
        rng: source of the random numbers of ``photo`` and ``real``; ``None``: a generator with seed 0.
        real: the table of ``real``; ``None``: the default one.
        log: gets a few words for each random step.

    Returns:
        ``(N, 3, H / scale, W / scale)`` in [0, 1], rounded to 8 bits except for ``paper``.

    Raises:
        ValueError: H or W is not a multiple of ``scale``.

    Source: Johnson et al. 2016, section 4.2, for ``paper``; Real-ESRGAN (arXiv 2107.10833), section 3, for
    ``photo`` and ``real``.
    """
    height, width = hr.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{width}×{height} is not a multiple of scale {scale}")
    size = (height // scale, width // scale)
    if kind in ("photo", "real"):
        rng, table = rng or np.random.default_rng(0), PHOTO if kind == "photo" else real or RealDegradation()
        return quantize(torch.stack([degrade_real(image, size, table, rng, log=log) for image in hr]))
    if kind == "paper":
        return resize(gaussian_blur(hr, sigma), size).clamp(0, 1)
    # As MATLAB does with 8-bit images: rows first, rounded to 8 bits, then columns.
    return quantize(resize(quantize(resize(hr, (size[0], width))), size))


def quantize(image: Tensor) -> Tensor:
    """Round ``image`` in [0, 1] to the 256 values of an 8-bit file."""
    return (image.clamp(0, 1) * 255).round() / 255
