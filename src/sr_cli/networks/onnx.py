"""Weights as ONNX, for other programs to run."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sr_cli.errors import OutputError, UsageError
from sr_cli.networks.base import Network
from sr_cli.system.atomic_files import write_atomically

OPSET = 18
TOLERANCE = 1e-4


class _Clamped(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Tensor) -> Tensor:
        return self.network(lr).clamp(0, 1)  # type: ignore[no-any-return]


def export_onnx(network: Network, path: Path, *, header: Mapping[str, Any], overwrite: bool = False) -> float:
    """Write a network as ONNX, after checking its results in ONNX Runtime against torch's.

    Its input ``lr`` is ``(N, 3, H, W)``, float32 RGB in [0, 1], of any size; its output ``sr`` is
    ``(N, 3, scale·H, scale·W)`` in [0, 1].

    Args:
        network: in eval mode, on the CPU.
        header: of the weights file; goes into the metadata, each value as JSON.

    Returns:
        The largest difference that was found.

    Raises:
        UsageError: the extra ``onnx`` is not installed.
        OutputError: the file exists or cannot be written, or its results differ from torch's by more than 10⁻⁴.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"exporting needs {', '.join(missing)}: python -m pip install onnx onnxruntime onnxscript")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: already exists")
    clamped = _Clamped(network).eval()
    shapes = ({0: "batch", 2: "height", 3: "width"},)
    names: dict[str, Any] = {"input_names": ["lr"], "output_names": ["sr"], "dynamic_shapes": shapes}
    with _quiet():
        program = torch.onnx.export(clamped, (torch.rand(1, 3, 24, 20),), dynamo=True, opset_version=OPSET, **names)
    assert program is not None
    model = program.model_proto
    for key, value in header.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    content = model.SerializeToString()
    difference = _difference(content, clamped)
    if not difference <= TOLERANCE:
        raise OutputError(f"{path}: not written, its results differ from torch's by {difference:.1e}")
    write_atomically(path, content, overwrite=overwrite)
    return difference


@torch.inference_mode()
def _difference(content: bytes, network: nn.Module) -> float:
    """The largest difference between ONNX Runtime and torch over a few sizes other than the one that was traced."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for shape in ((1, 3, 48, 64), (2, 3, 17, 33), (1, 3, 1, 1)):
        lr = torch.rand(shape, generator=generator)
        sr = torch.from_numpy(session.run(["sr"], {"lr": lr.numpy()})[0])
        largest = max(largest, float((sr - network(lr)).abs().max()))
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which reports its internals on stdout and as warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
