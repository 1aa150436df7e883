"""Weights files that describe themselves (safetensors)."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from sr_cli import __version__
from sr_cli.errors import UsageError, WeightsError
from sr_cli.networks.base import Network, checking_parameters
from sr_cli.networks.registry import build, built_in, is_registered
from sr_cli.system.atomic_files import write_atomically
from sr_cli.weights.content import read_metadata


def save_network(path: Path, network: Network, *, about: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> None:
    """Write a network's weights, and in the header what rebuilds it; an `OutputError` if it cannot be written.

    The file of a third-party network has the tensors that its own project's files have, and other programs load it.

    Args:
        path: a ``.safetensors`` file; written atomically.
        about: more values for the header (training command, data, loss, metrics, license …); written as JSON.
    """
    header = {
        "format": network.file_format,
        "version": __version__,
        "architecture": json.dumps(network.architecture),
        **{key: json.dumps(value) for key, value in about.items()},
    }
    tensors = {
        key: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for key, tensor in network.weights().items()
    }
    distinct: dict[int, str] = {}
    for key, tensor in tensors.items():
        if distinct.setdefault(tensor.data_ptr(), key) != key:  # layers that share weights; safetensors stores no views
            tensors[key] = tensor.clone()
    write_atomically(path, save(tensors, header))


def read_header(path: Path) -> dict[str, Any]:
    """The metadata of a weights file; a `WeightsError` if it is missing, damaged, or not by `save_network`."""
    header = read_metadata(path)
    if header.get("format") != Network.file_format:
        raise WeightsError(f"{path}: not weights that sr wrote")
    return header


def load_network(path: Path, *, arch: str | None = None) -> tuple[Network, dict[str, Any]]:
    """Build the network that a weights file describes, in eval mode, float32, on the CPU.

    A file cannot make this program import code: the network that it names must be registered, or given as ``arch``.

    Args:
        arch: ``package.module:Class`` of a network that isn't registered; for others it isn't used.

    Returns:
        The network and the file's header (see `read_header`).

    Raises:
        WeightsError: the file cannot be read, its network is unknown, or its weights don't fit its architecture.
        UsageError: ``arch`` cannot be imported.
    """
    header = read_header(path)
    architecture = header.get("architecture")
    if not isinstance(architecture, dict):
        raise WeightsError(f"{path}: its header names no network")
    name = architecture.get("name")
    if not is_registered(name) and ":" not in (arch or ""):  # a registered network doesn't stand in for another
        raise WeightsError(
            f"{path}: weights of the network {name!r}, which is not registered here; if you trust its code, name it by "
            "--arch package.module:Class"
        )
    try:
        with safe_open(path, framework="pt") as file:
            shapes = Counter(tuple(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
            # A network from outside may build parts that it drops again; its code is trusted, and so are its sizes.
            with checking_parameters(_refuse_others(shapes)) if name in built_in() else nullcontext():
                network = build(**architecture | {"name": name if is_registered(name) else arch})
            network.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except Exception as error:  # whatever a nonsensical header or damaged data makes PyTorch or safetensors raise
        if isinstance(error, UsageError) and name not in built_in():
            raise
        raise WeightsError(f"{path}: its weights don't fit its architecture") from error
    return network.eval(), header


def _refuse_others(shapes: Counter[tuple[int, ...]]) -> Callable[[nn.Module, str, nn.Parameter], None]:
    """Refuse a parameter of any other shape than these, or more of one than there are, with a ``ValueError``.

    So, whatever width and depth a header claims, building its network takes no more than the file's own tensors.
    """

    def check(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if getattr(module, name, None) is not parameter:  # `layer.weight += …` registers what is there already
            shapes[tuple(parameter.shape)] -= 1
            if shapes[tuple(parameter.shape)] < 0:
                raise ValueError(f"{name}: the file has no tensor of {tuple(parameter.shape)} left")

    return check
