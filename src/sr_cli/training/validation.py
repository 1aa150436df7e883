"""Judging weights by photos that the training never sees."""

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sr_cli import metrics
from sr_cli.config import TrainConfig
from sr_cli.data import Pair, quantize
from sr_cli.imageops.resize import resize
from sr_cli.networks.base import Network
from sr_cli.system.distributed import ALONE, Group

_GAP = 4  # pixels between the pictures of a sample


def held_out(config: TrainConfig, photos: int) -> int:
    """How many of the photos are kept for validation; one is always left to train on."""
    wanted = min(16, max(1 if photos >= 5 else 0, photos // 20))
    wanted = wanted if config.validation_photos is None else config.validation_photos
    return min(wanted, photos - 1)


@torch.no_grad()
def validate(
    network: Network, pairs: Sequence[Pair], *, device: torch.device, group: Group = ALONE
) -> tuple[float, float]:
    """Mean PSNR (dB) and SSIM on Y over the pairs, which the processes of the group share out.

    SSIM is NaN where a crop is smaller than its window.
    """
    psnr = ssim = 0.0
    for pair in pairs[group.rank :: group.size]:
        sr, hr = super_resolve(network, pair.lr, device), pair.hr[None]
        psnr += float(metrics.psnr(sr, hr, shave=network.scale))
        fits = min(hr.shape[-2:]) - 2 * network.scale >= 11
        ssim += float(metrics.ssim(sr, hr, shave=network.scale)) if fits else math.nan
    means = group.mean([psnr, ssim])
    return means[0] * group.size / len(pairs), means[1] * group.size / len(pairs)


@torch.no_grad()
def sample(network: Network, pairs: Sequence[Pair], device: torch.device) -> bytes:
    """A PNG with a row for each pair: LR, bicubic, SR, HR, all at the size of HR."""
    rows = []
    for pair in pairs:
        size = (pair.hr.shape[-2], pair.hr.shape[-1])
        lr = resize(pair.lr[None], size, kernel="nearest")
        bicubic = resize(pair.lr[None], size)
        sr = super_resolve(network, pair.lr, device)
        rows.append([_pixels(image) for image in (lr, bicubic, sr, pair.hr[None])])
    with io.BytesIO() as file:
        Image.fromarray(_sheet(rows)).save(file, "PNG")
        return file.getvalue()


@torch.no_grad()
def super_resolve(network: Network, lr: Tensor, device: torch.device) -> Tensor:
    """``(3, H, W)`` → ``(1, 3, scale·H, scale·W)`` in [0, 1], float32, on the CPU; by the network in eval mode."""
    was_training = network.training
    sr: Tensor = network.eval()(lr[None].to(device)).float().clamp(0, 1).cpu()
    network.train(was_training)
    return sr


def _pixels(image: Tensor) -> np.ndarray:
    return (quantize(image)[0] * 255).round().byte().permute(1, 2, 0).numpy()


def _sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    height = max(picture.shape[0] for row in rows for picture in row)
    width = max(picture.shape[1] for row in rows for picture in row)
    columns = len(rows[0])
    shape = (len(rows) * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + _GAP), j * (width + _GAP)
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
