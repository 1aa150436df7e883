"""A network in the form that runs fastest on a device."""

import copy

import torch
from torch import Tensor

from sr_cli.networks.base import Network
from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.networks.fast.streaming import Stream
from sr_cli.system import device as devices

_LAYOUT = torch.channels_last


class InferenceForm:
    """The network as it runs fastest: a copy on the device, in the dtype and the memory layout that suit it."""

    def __init__(self, network: Network, *, device: torch.device, dtype: torch.dtype) -> None:
        fused = network.fuse(matrix_units=devices.has_matrix_units(device, dtype))
        fast = copy.deepcopy(fused).eval().requires_grad_(False).to(device=device, dtype=dtype)
        for name in getattr(fused, "keep_in_float32", ()):
            setattr(fast, name, getattr(fused, name).to(device=device, dtype=torch.float32))
            dtype = torch.float32
        fast.to(memory_format=_LAYOUT)
        for layer in fast.modules():
            if isinstance(layer, FusedConv):
                layer.pack()
        self.network, self._dtype = fast, dtype

    def __call__(self, lr: Tensor) -> Tensor:
        """Upscale a float32 image on the device."""
        with devices.exact_float32():
            return self.network(self._prepare(lr))  # type: ignore[no-any-return]

    def stream(self) -> Stream:
        """Upscale one image that comes in strips; only for networks that stream."""
        run: Stream = self.network.stream()  # type: ignore[operator]

        def run_strip(lr: Tensor, last: bool) -> Tensor:
            with devices.exact_float32():
                return run(self._prepare(lr), last)

        return run_strip

    def _prepare(self, lr: Tensor) -> Tensor:
        return lr.to(self._dtype).contiguous(memory_format=_LAYOUT)
