"""Validation: judging weights by photos that the training never sees."""

import math
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sr_cli.config import TrainConfig
from sr_cli.data import Pair, Photos, quantize, validation_pairs
from sr_cli.errors import UsageError
from sr_cli.evaluation.measures import MEASURES, UnavailableError
from sr_cli.imageops.resize import resize
from sr_cli.networks.base import Network
from sr_cli.system.distributed import ALONE, Group

_GAP = 4  # pixels between the pictures of a sheet
_SAMPLE_SIDE = 256  # the most that is shown of a validation photo


def validation_count(config: TrainConfig, photos: int) -> int:
    """How many of the photos are held out for validation; at least one is left to train on."""
    wanted = min(16, max(1 if photos >= 5 else 0, photos // 20))
    wanted = wanted if config.validation_photos is None else config.validation_photos
    return min(wanted, photos - 1)


def validation_crops(config: TrainConfig, photos: Photos) -> tuple[list[Pair], list[str]]:
    """What weights are judged by, and remarks on photos that cannot be used.

    Raises:
        UsageError: ``config.best`` is no measure, cannot be computed here, or has no value for any of the photos.
    """
    if config.best not in MEASURES:
        raise UsageError(f"--best {config.best}: unknown; choose {', '.join(MEASURES)}")
    found = validation_pairs(
        photos, scale=config.scale, degradation=config.degradation, side=config.validation_side, real=config.real
    )
    unfit = dict.fromkeys(photos.paths, "it cannot be decoded")
    crops = []
    for pair in found:
        try:
            _measure(config.best, pair.hr[None], pair, scale=config.scale)
        except UnavailableError as error:
            raise UsageError(f"--best {config.best}: {error}") from error
        except ValueError as error:
            unfit[pair.path] = f"{config.best} has no value for it ({error})"
        else:
            crops.append(pair)
            del unfit[pair.path]
    if not crops and config.best != "psnr":
        path, reason = next(iter(unfit.items()), (photos.folder, "no photo is held out for validation"))
        raise UsageError(f"--best {config.best}: {path}: {reason}; it may take larger photos and --validation-side")
    return crops, [f"{path}: not used for validation, {reason}" for path, reason in unfit.items()]


def measures_of(config: TrainConfig) -> tuple[str, ...]:
    """The names of what is measured in a validation."""
    return tuple(dict.fromkeys(("psnr", "ssim", config.best)))


@torch.no_grad()
def validate(
    network: Network,
    pairs: Sequence[Pair],
    measures: Sequence[str] = ("psnr", "ssim"),
    *,
    device: torch.device,
    group: Group = ALONE,
) -> dict[str, float]:
    """Mean of each measure over the pairs, which are divided among the processes of the group.

    It is NaN if the measure has no value for one of them.
    """
    sums = _sums(
        lambda pair: super_resolve(network, pair.lr, device),
        pairs[group.rank :: group.size],
        measures,
        scale=network.scale,
    )
    means = group.mean(list(sums.values()))
    return {name: mean * group.size / len(pairs) for name, mean in zip(sums, means, strict=True)}


def bicubic_scores(pairs: Sequence[Pair], measures: Sequence[str], *, scale: int) -> dict[str, float]:
    """What bicubic interpolation reaches in `validate`; without the measures that have no value."""

    def bicubic(pair: Pair) -> Tensor:
        return resize(pair.lr[None], (pair.hr.shape[-2], pair.hr.shape[-1])).clamp(0, 1)

    sums = _sums(bicubic, pairs, measures, scale=scale) if pairs else {}
    return {name: total / len(pairs) for name, total in sums.items() if math.isfinite(total)}


def _sums(
    upscale: Callable[[Pair], Tensor], pairs: Sequence[Pair], measures: Sequence[str], *, scale: int
) -> dict[str, float]:
    """The sum of each measure over the pairs; NaN if it has no value for one of them."""
    sums = dict.fromkeys(measures, 0.0)
    for pair in pairs:
        sr = upscale(pair)
        for name in measures:
            try:
                sums[name] += _measure(name, sr, pair, scale=scale)
            except ValueError:
                sums[name] = math.nan
    return sums


def _measure(name: str, sr: Tensor, pair: Pair, *, scale: int) -> float:
    inputs = {"sr": sr, "hr": pair.hr[None], "lr": pair.lr[None], "scale": scale, "shave": scale}
    return MEASURES[name].compute(inputs | {"channel": "y", "degradation": "bicubic"})


@torch.no_grad()
def draw_samples(network: Network, pairs: Sequence[Pair], device: torch.device) -> NDArray[np.uint8]:
    """A picture with a row for each pair: the centers of LR, bicubic, SR, HR, all at the size of HR."""
    rows = []
    for pair in pairs:
        size = (pair.hr.shape[-2], pair.hr.shape[-1])
        lr = resize(pair.lr[None], size, kernel="nearest")
        bicubic = resize(pair.lr[None], size)
        images = (lr, bicubic, super_resolve(network, pair.lr, device), pair.hr[None])
        rows.append([_pixels(_center(image)) for image in images])
    return _tabulate(rows)


@torch.no_grad()
def draw_pairs(
    pairs: Sequence[Pair], scale: int, *, degradation: str, teacher: Callable[[Tensor], Tensor] | None = None
) -> NDArray[np.uint8]:
    """A picture of what a training sees: for each pair a line on how it came about, then LR, HR and the target.

    Args:
        pairs: of the same size; without HR, its place stays empty.
        degradation: what the line says if a pair doesn't tell its steps.
        teacher: makes the target from LR, both ``(1, 3, H, W)`` in [0, 1].
    """
    rows = []
    for pair in pairs:
        lr = pair.lr[None]
        large = resize(lr, (scale * lr.shape[-2], scale * lr.shape[-1]), kernel="nearest")
        hr = pair.hr[None] if pair.hr.numel() else torch.ones_like(large)
        row = [_pixels(image) for image in (large, hr, *([] if teacher is None else [teacher(lr).cpu()]))]
        how = ", ".join(pair.steps) or (degradation if pair.hr.numel() else "as it is, for the teacher")
        rows += [[_write(f"{pair.path.name}: {how}", width=sum(each.shape[1] + _GAP for each in row) - _GAP)], row]
    return np.concatenate([_tabulate([row]) for row in rows])


def _write(text: str, *, width: int) -> NDArray[np.uint8]:
    """Black text on white, in as many lines as it takes."""
    font, line = ImageFont.load_default(11), 14  # pixels
    known = text.replace("×", "x").encode("latin-1", "replace").decode("latin-1")  # what the font has
    lines = textwrap.wrap(known, max(8, width // 6))
    canvas = Image.new("RGB", (width, line * len(lines) + 6), "white")
    ImageDraw.Draw(canvas).multiline_text((0, 4), "\n".join(lines), "black", font=font, spacing=2)
    return np.array(canvas)


def _tabulate(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Pictures in rows and columns, on white."""
    height, width = (max(row[0].shape[axis] for row in rows) + _GAP for axis in (0, 1))
    sheet = np.full((len(rows) * height - _GAP, len(rows[0]) * width - _GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            sheet[i * height :, j * width :][: picture.shape[0], : picture.shape[1]] = picture
    return sheet


@torch.no_grad()
def super_resolve(network: Network, lr: Tensor, device: torch.device) -> Tensor:
    """``(3, H, W)`` → ``(1, 3, scale·H, scale·W)`` in [0, 1], float32, on the CPU, in eval mode."""
    was_training = network.training
    sr: Tensor = network.eval()(lr[None].to(device)).float().clamp(0, 1).cpu()
    network.train(was_training)
    return sr


def _center(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    top, left = max(0, (height - _SAMPLE_SIDE) // 2), max(0, (width - _SAMPLE_SIDE) // 2)
    return image[..., top : height - top, left : width - left]


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    return (quantize(image)[0] * 255).round().byte().permute(1, 2, 0).numpy()
