"""The size of each result, and the network that reaches it."""

import math

from sr_cli import weights
from sr_cli.config import AUTO, DEFAULT_MODEL, MAX_SCALE, MODEL_FOR, PERCEPTUAL_MODEL, UpscaleConfig

_LARGEST_CHOICE = 4  # scale; beyond it `PERCEPTUAL_MODEL` would run twice


def target_size(config: UpscaleConfig, width: int, height: int, *, network_scale: int) -> tuple[int, int]:
    """Width and height of the result for an input of ``width`` × ``height`` pixels.

    Raises:
        ValueError: the result would be more than `MAX_SCALE` times as large as the input.
    """
    factors = [limit / side for limit, side in ((config.width, width), (config.height, height)) if limit is not None]
    factor = config.scale if config.scale is not None else min(factors, default=float(network_scale))
    wide, high = config.size or (round(width * factor), round(height * factor))
    if config.width is not None and factor == config.width / width:
        wide = config.width
    if config.height is not None and factor == config.height / height:
        high = config.height
    if config.max_pixels is not None and wide * high > config.max_pixels:
        shrink = math.sqrt(config.max_pixels / (wide * high))
        wide, high = math.floor(wide * shrink), math.floor(high * shrink)
    if max(wide / width, high / height) > MAX_SCALE:
        raise ValueError(f"{wide} × {high} pixels is more than {MAX_SCALE} times {width} × {height}")
    return max(1, wide), max(1, high)


def default_model(config: UpscaleConfig) -> str:
    """The model if none is named: what suits the scale, the strength or the kind, else ``auto``."""
    if config.strength is not None or config.kind == "photo":
        return model_for(config.scale, available_scales(PERCEPTUAL_MODEL), default=PERCEPTUAL_MODEL)
    if config.kind is not None and MODEL_FOR[config.kind] != DEFAULT_MODEL:
        return MODEL_FOR[config.kind]
    within = config.scale is None or config.scale <= _LARGEST_CHOICE
    chooses = within and config.kind is None and config.arch is None
    return AUTO if chooses else model_for(config.scale, available_scales())


def model_for(scale: float | None, available: dict[int, str], *, default: str = DEFAULT_MODEL) -> str:
    """The network of a family for a scale: the next larger one, else the largest.

    Args:
        scale: ``None`` for the default network.
        available: names by scale.
        default: if there is no scale, or nothing available.
    """
    if scale is None or not available:
        return default
    return available[min((s for s in available if s >= scale), default=max(available))]


def available_scales(model: str = DEFAULT_MODEL) -> dict[int, str]:
    """The networks of a model's family that need no download, by scale."""
    family = model.rpartition("-x")[0]
    return {
        entry.scale: name
        for name, entry in weights.entries().items()
        if entry.kind == "upscaler" and entry.scale and name == f"{family}-x{entry.scale}"
        if weights.state(entry) in ("shipped", "cached")
    }
