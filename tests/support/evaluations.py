"""Pictures, networks and reports for the tests of evaluation and report."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sr_cli.evaluation.result import Cost, EvaluationProtocol, EvaluationReport, ImageResult, MethodResult
from sr_cli.networks.checkpoint import save_network
from sr_cli.networks.registry import build


def photo(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """A colored picture with slopes, edges and grain, ``(height, width, 3)`` uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 12 + 2, width // 12 + 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    edges = (smooth[:, :1] > 0.5).float() * 0.3
    grain = 0.03 * torch.randn(1, 3, height, width, generator=generator)
    return pixels(0.7 * smooth + edges + grain)


def pixels(image: Tensor) -> np.ndarray:
    return (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def folder_of_photos(folder: Path, names: Iterable[str] = "abc", *, height: int = 64, width: int = 96) -> Path:
    """A folder with a PNG for every name."""
    for seed, name in enumerate(names):
        save(folder / f"{name}.png", photo(height, width, seed=seed))
    return folder


def weights_file(path: Path, *, scale: int = 4, seed: int = 0) -> Path:
    """A tiny untrained network's weights."""
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_network(path, build(name="compact", scale=scale, width=8, depth=1), about={})
    return path


def report(scores: dict[str, dict[str, list[float | None]]], **changes: object) -> EvaluationReport:
    """A report with ``scores[method][measure]``, a value for each of the pictures 0, 1, 2 …"""
    measures = tuple(next(iter(scores.values())))
    count = len(next(iter(next(iter(scores.values())).values())))
    methods = tuple(
        MethodResult(name=name, kind="interpolation" if name == "bicubic" else "model", cost=Cost(seconds=0.5))
        for name in scores
    )
    images = tuple(
        ImageResult(
            name=f"picture {index}",
            width=64,
            height=48,
            scores={method: {m: values[index] for m, values in of.items()} for method, of in scores.items()},
        )
        for index in range(count)
    )
    settings = {
        "protocol": EvaluationProtocol(scale=4, channel="y", shave=4, lr="bicubic"),
        "source": "photos",
        "measures": measures,
        "methods": methods,
        "images": images,
    }
    return EvaluationReport(**{**settings, **changes})  # type: ignore[arg-type]
