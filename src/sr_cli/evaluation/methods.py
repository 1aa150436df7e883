"""The methods that an evaluation compares, one row of the table each."""

from dataclasses import dataclass
from typing import Protocol

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


class Method(Protocol):
    """A way to get SR for a sample."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> MethodKind: ...

    def sr(self, sample: Sample) -> Tensor:
        """``(1, 3, H, W)``, the size of ``sample.hr``, not rounded, roughly in [0, 1]."""
        ...


@dataclass(frozen=True)
class InterpolationMethod:
    """A kernel: what a model has to beat."""

    name: Interpolation
    kind: MethodKind = "interpolation"

    def sr(self, sample: Sample) -> Tensor:
        if self.name == "lanczos":
            return _lanczos(sample.lr, sample.size)
        return resize(sample.lr, sample.size, kernel=self.name).clamp(0, 1)


@dataclass(frozen=True)
class ModelMethod:
    """A network, used as by ``sr upscale``: with its color correction, from 8 bit to 8 bit."""

    name: str
    upscaler: Upscaler
    kind: MethodKind = "model"

    def sr(self, sample: Sample) -> Tensor:
        try:
            return to_tensor(self.upscaler.upscale_picture(Picture(color=eight_bit_pixels(sample.lr))))
        except WeightsError as error:
            raise ImageError(f"{self.name}: {error}") from error


@dataclass(frozen=True)
class FolderMethod:
    """Files that another tool wrote."""

    name: str
    kind: MethodKind = "folder"

    def sr(self, sample: Sample) -> Tensor:
        return read_sr(sample.sr[self.name], sample)


def _lanczos(lr: Tensor, size: tuple[int, int]) -> Tensor:
    # Pillow's, with a support of 3; PyTorch has none.
    planes = [Image.fromarray(plane.numpy()).resize(size[::-1], Image.Resampling.LANCZOS) for plane in lr[0]]
    return torch.stack([torch.from_numpy(np.array(plane)) for plane in planes])[None].clamp(0, 1)
