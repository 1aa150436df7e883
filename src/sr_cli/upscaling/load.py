"""From a model's name or file to its network."""

from pathlib import Path
from typing import Any

import torch

from sr_cli import weights
from sr_cli.errors import WeightsError
from sr_cli.networks.base import Network, describe
from sr_cli.networks.checkpoint import load_network
from sr_cli.networks.onnx_file import OnnxNetwork
from sr_cli.networks.registry import build_from_file, built_in, is_described_by_file, name_of
from sr_cli.weights.content import content_of, read_metadata


def find_weights(model: str | Path) -> Path:
    """The weights file of a model: by its name, the folder of its run, or the path (with a suffix or a folder in it).

    Of a run, the weights with the best validation count, else the last ones.

    Raises:
        WeightsError: the file doesn't exist, or is a training's state, or no model has that name.
    """
    path = Path(model)
    if not weights.is_path(path):
        return weights.locate(str(model), kind="upscaler")
    if path.is_dir():
        found = [file for name in ("best", "model") if (file := path / f"{name}.safetensors").is_file()]
        if not found:
            raise WeightsError(f"{path}: has no best.safetensors or model.safetensors; is it a finished run?")
        return found[0]
    if path.name == "last.pt" and (path.parent / "config.json").is_file():
        raise WeightsError(f"{path} is a training state; use {path.parent / 'model.safetensors'}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    return path


def settings_of_file(path: Path) -> dict[str, Any]:
    """The settings ``arch`` and ``scale`` of a training from another project's weights; none for those of `sr`.

    Raises:
        WeightsError: the file is damaged, or of an unknown architecture.
    """
    if _is_ours(path):
        return {}
    network, _ = load_weights(path)
    if not network.described_by_file:
        raise WeightsError(f"{path}: a network of an ONNX file cannot be trained")
    return {"arch": name_of(type(network)), "scale": network.scale}


def _is_ours(path: Path) -> bool:
    return content_of(path) == "safetensors" and str(read_metadata(path).get("format", "")).startswith("sr-cli")


def load_weights(path: Path, *, arch: str | None = None) -> tuple[Network, dict[str, Any]]:
    """The network of a weights file, by `sr` or another project, and the file's header (empty for the latter).

    Args:
        arch: ``package.module:Class`` of a network that isn't registered, see `load_network`; or one that is
            `described_by_file`.

    Raises:
        WeightsError: the file is missing, damaged, or of an unknown architecture.
    """
    if _is_ours(path):
        return load_network(path, arch=arch)
    if content_of(path) == "ONNX":
        return OnnxNetwork(path), {}
    if arch is None or not is_described_by_file(arch):
        arch = next(name for name in built_in() if is_described_by_file(name))
    return build_from_file(arch, path), {}


def interpolate(
    network: Network, header: dict[str, Any], strength: float, *, name: str, arch: str | None = None
) -> Network:
    """Set the weights to a point on the line from those that it was trained from (0) to its current ones (1).

    Between weights trained for fidelity, and the same ones trained further for looks, the pictures are in between too.

    Source: network interpolation, Wang et al. 2018 (ESRGAN, arXiv 1809.00219), section 3.4.

    Args:
        strength: 0 to 1.
        arch: see `load_weights`.

    Raises:
        WeightsError: it was not trained from others, or from others of another shape.
    """
    init = header.get("init")
    if not init or not isinstance(init, str):
        raise WeightsError(f"{name}: was not trained from other weights, so --strength has nothing to blend with")
    origin, _ = load_network(find_weights(init), arch=arch)
    if origin.architecture != network.architecture:
        raise WeightsError(f"{name}: was trained from {init}, which is {describe(origin)}: nothing to blend it with")
    first = origin.state_dict()
    line = {
        key: torch.lerp(first[key], last, strength) if last.is_floating_point() else last
        for key, last in network.state_dict().items()
    }
    network.load_state_dict(line)
    return network
