"""A teacher: a network whose results a training takes as targets."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_cli.config import TrainConfig
from sr_cli.errors import UsageError
from sr_cli.imageops.resize import resize
from sr_cli.networks.base import Network
from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.system.device import dtype_for
from sr_cli.training.provenance import file_record
from sr_cli.upscaling.load import find_weights, load_weights


class Teacher:
    """A frozen network in its inference form, in the dtype that is fastest on the device.

    Where half precision overflows, it computes in float32 from then on.

    Args:
        network: any that ``sr upscale`` runs.
        scale: of the training, which divides the network's own: what it enlarges further is reduced, as by
            ``sr upscale --scale``.

    Attributes:
        seconds: how long the last call took, once the device has finished it.
    """

    def __init__(self, network: Network, device: torch.device, *, scale: int) -> None:
        self.network, self.device, self.scale = network, device, scale
        self._form = InferenceForm(network, device=device, dtype=dtype_for(device, bfloat16=network.tolerates_bfloat16))
        self._began = self._ended = 0.0
        self._events: list[torch.cuda.Event] = []

    @classmethod
    def load(cls, config: TrainConfig, device: torch.device) -> "Teacher | None":
        """The teacher that a training's settings name, if they do.

        Raises:
            WeightsError: its weights are missing, damaged, or of an unknown architecture.
            UsageError: its scale isn't a multiple of the training's.
        """
        if config.teacher is None:
            return None
        network, _ = load_weights(find_weights(config.teacher))
        if network.scale % config.scale:
            factors = f"enlarges {network.scale} times, which isn't a multiple of {config.scale}"
            raise UsageError(f"--teacher {config.teacher}: {factors}")
        return cls(network, device, scale=config.scale)

    @torch.no_grad()
    def __call__(self, lr: Tensor) -> Tensor:
        """``(N, 3, H, W)`` → ``(N, 3, scale·H, scale·W)`` in [0, 1], float32, on the device."""
        on_gpu = self.device.type == "cuda"
        self._events = [_event(), _event()] if on_gpu else []
        self._began = time.perf_counter()
        if on_gpu:
            self._events[0].record()
        sr = self._form(lr)
        if not sr.sum(dtype=torch.float32).isfinite():
            self._form = InferenceForm(self.network, device=self.device, dtype=torch.float32)
            sr = self._form(lr)
        target = sr.float().clamp(0, 1).clone()  # spandrel returns tensors that autograd refuses
        height, width = lr.shape[-2:]
        target = resize(target, (self.scale * height, self.scale * width)).clamp(0, 1)
        if on_gpu:
            self._events[1].record()
        self._ended = time.perf_counter()
        return target.contiguous(memory_format=torch.channels_last)

    @property
    def seconds(self) -> float:
        if self._events:
            return float(self._events[0].elapsed_time(self._events[1])) / 1000
        return self._ended - self._began


def with_absolute_teacher(config: TrainConfig) -> tuple[TrainConfig, dict[str, Any]]:
    """Settings that name the teacher's file, if it is one, by its absolute path; and what a run records of the file.

    Raises:
        WeightsError: there is no such file or model.
    """
    if config.teacher is None:
        return config, {}
    file = find_weights(config.teacher)
    if file == Path(config.teacher):
        config = dataclasses.replace(config, teacher=str(file.absolute()))
    return config, file_record("teacher", file)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
