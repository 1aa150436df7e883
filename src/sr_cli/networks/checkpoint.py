"""Weights that describe themselves (safetensors), and the state that a training resumes from."""

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sr_cli import __version__
from sr_cli.errors import TrainingError, WeightsError
from sr_cli.networks.compact import Compact
from sr_cli.networks.johnson import Johnson
from sr_cli.networks.registry import build
from sr_cli.system.atomic_files import atomic_write, write_atomically

FORMAT = "sr-cli 1"


def save_network(
    path: Path, network: Johnson | Compact, *, about: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write a network's weights with what is needed to build it again and to judge it.

    Args:
        path: a ``.safetensors`` file; written whole or not at all.
        network: the network.
        about: what the header shall say (training command, data, loss, metrics, license …), each value as JSON.
        dtype: precision of the stored weights.

    Raises:
        OutputError: the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "version": __version__,
        "architecture": json.dumps(network.architecture),
        **{key: json.dumps(value) for key, value in about.items()},
    }
    tensors = {
        key: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for key, tensor in network.state_dict().items()
    }
    write_atomically(path, save(tensors, header))


def read_header(path: Path) -> dict[str, Any]:
    """What a weights file says of itself: ``architecture`` and all that `save_network` was told.

    Raises:
        WeightsError: the file is missing, is no safetensors file, or none of ours.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise WeightsError(f"{path}: safetensors, but not weights that sr wrote")
        return {key: value if key in ("format", "version") else json.loads(value) for key, value in header.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a weights file that sr can read (damaged, or no safetensors)") from error


def load_network(path: Path) -> tuple[Johnson | Compact, dict[str, Any]]:
    """Build the network that a weights file describes, in eval mode, float32, on the CPU.

    Returns:
        The network and the file's header (see `read_header`).

    Raises:
        WeightsError: the file cannot be read, or its weights don't fit its architecture.
    """
    header = read_header(path)
    try:
        network = build(**header["architecture"])
        with safe_open(path, framework="pt") as file:
            network.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path}: its weights don't fit its architecture") from error
    return network.eval(), header


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training's whole state; the file appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    # Through memory, as torch.save turns the errors of a full disk into its own.
    with io.BytesIO() as content, atomic_write(path) as file:
        torch.save(dict(state), content)
        file.write(content.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, without unpickling anything but tensors and plain values.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: nothing to resume from") from error
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path}: not a training state that can be read") from error
    if not isinstance(state, dict):
        raise TrainingError(f"{path}: not a training state")
    return state
