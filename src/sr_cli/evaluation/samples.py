"""The pictures of one sample, read and prepared for measuring."""

import functools
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sr_cli import images
from sr_cli.config import Degradation
from sr_cli.data import degrade, quantize
from sr_cli.errors import ImageError
from sr_cli.evaluation.match_files import Files
from sr_cli.images.header import size_of
from sr_cli.metrics.fidelity import eight_bit

RgbPixels = npt.NDArray[np.uint8]
"""``(H, W, 3)``."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """HR, cropped to a multiple of the scale, and its 8-bit LR.

    Attributes:
        hr: ``(1, 3, scale · h, scale · w)`` in [0, 1]; ``None`` if there is none.
        lr: ``(1, 3, h, w)`` in [0, 1].
        uncropped: height and width of the HR file.
        is_gray: whether the HR file has one channel.
        sr: SR files by the name of their row.
    """

    name: str
    hr: Tensor | None
    lr: Tensor
    scale: int
    uncropped: tuple[int, int]
    is_gray: bool
    sr: Mapping[str, Path]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of HR and SR."""
        return self.scale * self.lr.shape[-2], self.scale * self.lr.shape[-1]


def load_sample(files: Files, *, scale: int, degradation: Degradation, seed: int, no_reference: bool = False) -> Sample:
    """Read HR, and read LR or make it; with ``no_reference`` the file is LR.

    Raises:
        ImageError: a file cannot be read, HR is smaller than the scale, or LR's size times the scale isn't HR's (up to
            ``scale`` − 1 pixels at the right and the bottom of HR are ignored).
    """
    picture = images.read(files.hr)
    make = functools.partial(Sample, name=files.name, scale=scale, is_gray=picture.is_gray, sr=files.sr)
    height, width = uncropped = (picture.height, picture.width)
    if no_reference:
        return make(hr=None, lr=quantize(images.to_tensor(picture)), uncropped=(scale * height, scale * width))
    hr = images.to_tensor(picture)[..., : height // scale * scale, : width // scale * scale]
    if files.lr is None:
        if not hr.numel():
            raise ImageError(f"{files.hr}: {_size(uncropped)} pixels are less than one of LR at x{scale}")
        rng = np.random.default_rng([seed, zlib.crc32(os.fsencode(files.name))])
        lr = quantize(degrade(hr, scale, kind=degradation, rng=rng))
    else:
        lr = quantize(images.to_tensor(images.read(files.lr)))
        if hr.shape[-2:] != (lr.shape[-2] * scale, lr.shape[-1] * scale):
            found = f"its {_size(lr.shape[-2:])} pixels times {scale}"
            raise ImageError(f"{files.lr}: {found} are not the {_size(uncropped)} of {files.hr}")
    return make(hr=hr, lr=lr, uncropped=uncropped)


def scale_between(hr: Path, lr: Path) -> int:
    """The scale between two pictures; an `ImageError` if a file cannot be read, or LR isn't smaller."""
    scale = size_of(hr)[1] // size_of(lr)[1]
    if scale < 2:
        raise ImageError(f"{lr}: is not smaller than {hr} by 2 or more")
    return scale


def read_sr(path: Path, sample: Sample) -> Tensor:
    """An SR file as large as HR, ``(1, 3, H, W)`` in [0, 1].

    Raises:
        ImageError: it cannot be read, or its size is neither HR's nor that of the HR file before cropping.
    """
    sr = images.to_tensor(images.read(path))
    size = (sr.shape[-2], sr.shape[-1])
    if size not in (sample.size, sample.uncropped):
        raise ImageError(f"{path}: its {_size(size)} pixels should be {_size(sample.uncropped)}")
    height, width = sample.size
    return sr[..., :height, :width]


def eight_bit_pixels(image: Tensor) -> RgbPixels:
    """``(1, 3, H, W)`` in [0, 1] → ``(H, W, 3)`` uint8, rounded as the metrics round."""
    return (eight_bit(image)[0].permute(1, 2, 0) * 255).round().byte().cpu().contiguous().numpy()


def _size(size: tuple[int, ...]) -> str:
    return f"{size[1]}×{size[0]}"
