"""Networks of ONNX files, run by ONNX Runtime: any scale, layout and range of values, found by a trial run."""

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sr_cli.errors import WeightsError, first_line
from sr_cli.imageops.color import full_range_luma
from sr_cli.networks.base import Network

_SIDES = (48, 64, 128, 256)
"""Of the pictures of the trial, where the file leaves the size open; some networks take multiples only."""
_STEP = 64  # the multiple that sides are padded to
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class OnnxNetwork(Network):
    """A network of an ONNX file, on the CPU, or on an NVIDIA GPU if ONNX Runtime has CUDA.

    Its layout (NCHW or NHWC), the range of its values ([0, 1] or [0, 255]), its scale, and whether it takes one size
    only are found by a trial run. One with 1 channel computes the luma.

    Raises:
        WeightsError: ONNX Runtime isn't installed or refuses the file, or it is no upscaler.
    """

    tolerates_float16 = False

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise WeightsError(
                f"{path}: is ONNX, which needs the package onnxruntime: python -m pip install onnxruntime"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [each for each in wanted if each in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # it has no common base class
            raise WeightsError(f"{path}: ONNX Runtime cannot load it ({first_line(error)})") from error
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or inputs[0].type not in _TYPES:
            raise WeightsError(f"{path}: doesn't take one picture")
        self._input, self._type = inputs[0].name, _TYPES[inputs[0].type]
        self._last = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        self._channels = shape[3] if self._last else shape[1] if isinstance(shape[1], int) else 3
        sides = shape[1:3] if self._last else shape[2:]
        self._size = (sides[0], sides[1]) if all(isinstance(side, int) for side in sides) else None
        self._top = 255.0 if self._type is np.uint8 else 1.0
        super().__init__(scale=self._try(path))

    @property
    def architecture(self) -> dict[str, Any]:
        return {"name": "ONNX", "scale": self.scale}

    def memory(self, height: int, width: int, *, itemsize: int = 4) -> int:
        """About 64 channels at the resolution of the input, or 3 at that of the result, a few of each."""
        return itemsize * height * width * (6 * 64 + 6 * 3 * self.scale**2)

    def __deepcopy__(self, _: dict[int, Any]) -> "OnnxNetwork":
        return copy.copy(self)  # a session cannot be copied, and need not be

    def tolerates_bfloat16(self) -> bool:
        return False

    def forward(self, lr: Tensor) -> Tensor:
        picture = lr.detach().float().cpu()
        if self._channels == 1:
            sr = self._tiles(full_range_luma(picture))
            large = F.interpolate(picture, scale_factor=self.scale, mode="bicubic")
            sr = large + (sr[:, :1] - full_range_luma(large))
        else:
            opaque = [0, 0, 0, 0, 0, max(0, self._channels - 3)]
            sr = self._tiles(F.pad(picture, opaque, value=1))[:, :3]
        return sr.to(lr)

    def _tiles(self, lr: Tensor) -> Tensor:
        """Run at a size that the network takes: a multiple of `_STEP`, or in blended tiles of its own size."""
        height, width = lr.shape[-2:]
        tall, wide = self._size or (-(-height // _STEP) * _STEP, -(-width // _STEP) * _STEP)
        total, weight = (
            torch.zeros(len(lr), each, height * self.scale, width * self.scale) for each in (lr.shape[1], 1)
        )
        ramps = [_ramp(side * self.scale) for side in (tall, wide)]
        for top, left in itertools.product(_starts(height, tall), _starts(width, wide)):
            tile = lr[..., top : top + tall, left : left + wide]
            missing = [0, wide - tile.shape[-1], 0, tall - tile.shape[-2]]
            y, x, rows, columns = (self.scale * each for each in (top, left, *tile.shape[-2:]))
            window = (ramps[0][:rows, None] * ramps[1][:columns])[None]
            for index in range(len(lr)):  # some files take one picture only
                sr = self._run(F.pad(tile[index : index + 1], missing, mode="replicate"))[0, : lr.shape[1]]
                total[index, :, y : y + rows, x : x + columns] += sr[..., :rows, :columns] * window
                weight[index, :, y : y + rows, x : x + columns] += window
        return total / weight

    def _run(self, lr: Tensor) -> Tensor:
        values = lr.clamp(0, 1).numpy() * self._top
        values = (values + 0.5).astype(np.uint8) if self._type is np.uint8 else values.astype(self._type)
        if self._last:
            values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
        sr: npt.NDArray[Any] = self._session.run(None, {self._input: values})[0]
        if self._last:
            sr = sr.transpose(0, 3, 1, 2)
        return torch.from_numpy(sr.astype(np.float32) / np.float32(self._top))

    def _try(self, path: Path) -> int:
        """Find the scale, and the range of the values: gray comes out gray."""
        reason = "it fails on every size"
        for height, width in [self._size] if self._size else [(side, side) for side in _SIDES]:
            try:
                for top in (255.0,) if self._type is np.uint8 else (1.0, 255.0):
                    self._top = top
                    sr = self._run(torch.full((1, self._channels, height, width), 0.5))
                    if abs(float(sr.mean()) - 0.5) < 0.25:
                        break
                else:
                    self._top = 1.0
            except Exception as error:  # ONNX Runtime's have no common base class
                reason = first_line(error)
                continue
            scale, rest = divmod(sr.shape[-1], width)
            if sr.ndim != 4 or rest or sr.shape[-2] != height * scale or not scale:
                raise WeightsError(f"{path}: makes {tuple(sr.shape)} of {height} × {width} pixels; it is no upscaler")
            return scale
        raise WeightsError(f"{path}: ONNX Runtime cannot run it ({reason})")


def _starts(length: int, size: int) -> list[int]:
    """Where tiles begin that cover a length and overlap by an eighth; the last one ends with it."""
    return [*range(0, max(1, length - size), size - size // 8), *([length - size] if length > size else [])]


def _ramp(length: int) -> Tensor:
    """Weights that rise from nearly 0 at both ends to 1 over an eighth of the length."""
    distance = torch.arange(length, dtype=torch.float32).add(0.5)
    return (torch.minimum(distance, length - distance) / (length / 8)).clamp(max=1)
