"""The methods that an evaluation compares, one row of the table each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sr_cli.config import Interpolation
from sr_cli.errors import ImageError, WeightsError
from sr_cli.evaluation.result import MethodKind
from sr_cli.evaluation.samples import Sample, eight_bit_pixels, read_sr
from sr_cli.imageops.resize import resize
from sr_cli.images import Picture, to_tensor
from sr_cli.upscaling.upscaler import Upscaler


@dataclass(frozen=True)
class Method:
    """A way to get SR: ``sr`` returns ``(1, 3, H, W)``, ``sample.size``, not rounded, roughly in [0, 1]."""

    name: str
    kind: MethodKind
    sr: Callable[[Sample], Tensor]
    upscaler: Upscaler | None = None


def interpolation(kernel: Interpolation) -> Method:
    """A kernel: what a model has to beat."""

    def sr(sample: Sample) -> Tensor:
        if kernel == "lanczos":  # Pillow's, with a support of 3; PyTorch has none
            size = sample.size[::-1]
            planes = [Image.fromarray(plane.numpy()).resize(size, Image.Resampling.LANCZOS) for plane in sample.lr[0]]
            return torch.stack([torch.from_numpy(np.array(plane)) for plane in planes])[None].clamp(0, 1)
        return resize(sample.lr, sample.size, kernel=kernel).clamp(0, 1)

    return Method(kernel, "interpolation", sr)


def model(name: str, upscaler: Upscaler) -> Method:
    """A network, used as by ``sr upscale``: with its color correction, from 8 bit to 8 bit."""

    def sr(sample: Sample) -> Tensor:
        try:
            return to_tensor(upscaler.upscale_picture(Picture(color=eight_bit_pixels(sample.lr))))
        except WeightsError as error:
            raise ImageError(f"{name}: {error}") from error

    return Method(name, "model", sr, upscaler)


def folder(name: str) -> Method:
    """Files that another tool wrote."""
    return Method(name, "folder", lambda sample: read_sr(sample.sr[name], sample))
