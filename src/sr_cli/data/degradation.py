"""How LR is made from HR."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sr_cli.config import Degradation
from sr_cli.data.real_degradation import degrade_real
from sr_cli.degradation_table import RealDegradation
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
            a Gaussian blur first; ``photo`` blurs, downsamples with a random kernel, adds noise and compresses as
            JPEG, by random amounts that are the same for all N images; ``real`` draws from a table what cameras,
            phones and websites do, for each image anew.
        sigma: standard deviation of the ``paper`` blur, in HR pixels.
        rng: source of the random numbers of ``photo`` and ``real``; ``None``: a generator with seed 0.
        real: the table of ``real``; ``None``: the default one.
        log: gets a few words for each step of ``real``.

    Returns:
        ``(N, 3, H / scale, W / scale)`` in [0, 1], rounded to 8 bits except for ``paper``.

    Raises:
        ValueError: H or W is not a multiple of ``scale``.

    Source: Johnson et al. 2016, section 4.2, for ``paper``; Real-ESRGAN (arXiv 2107.10833), section 3, for the idea of
    ``photo``, and for ``real``.
    """
    height, width = hr.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{width}×{height} is not a multiple of scale {scale}")
    size = (height // scale, width // scale)
    if kind == "real":
        rng, table = rng or np.random.default_rng(0), real or RealDegradation()
        return quantize(torch.stack([degrade_real(image, size, table, rng, log=log) for image in hr]))
    if kind == "photo":
        return _degrade_like_photo(hr, size, rng or np.random.default_rng(0))
    if kind == "paper":
        return resize(gaussian_blur(hr, sigma), size).clamp(0, 1)
    # As MATLAB does with 8-bit images: rows first, rounded to 8 bits, then columns.
    return quantize(resize(quantize(resize(hr, (size[0], width))), size))


def quantize(image: Tensor) -> Tensor:
    """Round ``image`` in [0, 1] to the 256 values of an 8-bit file."""
    return (image.clamp(0, 1) * 255).round() / 255


def _degrade_like_photo(hr: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """What a camera, a resize on a website and JPEG do to an image."""
    blurred = gaussian_blur(hr, rng.uniform(0.0, 1.6))
    lr = resize(blurred, size, kernel=rng.choice(["bicubic", "bicubic", "bilinear"]))
    noise = torch.from_numpy(rng.standard_normal(lr.shape, dtype=np.float32)).to(lr)
    lr = (lr + noise * (rng.uniform(0, 6 / 255) if rng.random() < 0.5 else 0)).clamp(0, 1)
    if rng.random() < 0.1:
        return quantize(lr)
    quality, subsampling = int(rng.integers(45, 96)), int(rng.choice([0, 2]))
    return torch.stack([_compress(image, quality=quality, subsampling=subsampling) for image in lr])


def _compress(image: Tensor, *, quality: int, subsampling: int) -> Tensor:
    """``(3, H, W)`` through a JPEG file and back."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
        decoded = np.array(Image.open(file))
    return torch.from_numpy(decoded).permute(2, 0, 1).to(image) / 255
