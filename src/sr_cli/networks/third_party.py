"""Networks of other projects, through the package `spandrel`: Real-ESRGAN, SPAN, SwinIR, DAT and many more."""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.errors import UsageError, WeightsError, first_line
from sr_cli.imageops.color import full_range_luma
from sr_cli.networks.base import Geometry, Network, checking_parameters
from sr_cli.networks.compact import FusedCompact
from sr_cli.networks.fast.fused_third_party import FUSED, fuse_modules, halo_of
from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.system.memory import growth_limited
from sr_cli.weights.content import MOST_TENSORS, content_of

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

_ROUNDING = 1.0  # root mean square, in 8-bit values, that bfloat16 may change results by; an 8-bit file rounds by 0.3
_LEAST = 32  # side of the smallest image that every architecture can take
_ALLOWANCE = 2 << 30  # bytes that loading may take, beside 8 times the file's
_TOO_LARGE = "a network far larger than the file"
_WRAPPERS = (
    "params_ema", "params-ema", "ema", "model_ema", "params", "model_state_dict", "state_dict", "generator", "net_g",
    "netG", "model", "net", "network", "module", "_orig_mod",
)  # fmt: skip
"""What training scripts put around a network's tensors, the better ones first."""
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    argparse.Namespace, np.dtype, *(type(np.dtype(each)) for each in ("f4", "f8", "i4", "i8", "?")),
    _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), (_SCALAR, "numpy._core.multiarray.scalar"),
]  # fmt: skip
"""What checkpoints hold beside tensors: options, and figures of NumPy."""
_CHANNELS = {(1, 1), (1, 3), (3, 1), (3, 3), (4, 4)}


class ThirdPartyNetwork(Network):
    """A network of another project, with the interface of ours.

    A network with 1 channel computes the luma; its chroma is that of bicubic interpolation. One with 4 takes RGBA too.
    In training mode, batch normalization keeps its statistics, and nothing drops out.

    Shapes:
        ``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)``, in [0, 1] when no gradient is wanted.
    """

    file_format: ClassVar[str] = "third-party"
    described_by_file: ClassVar[bool] = True

    def __init__(self, descriptor: "ImageModelDescriptor[nn.Module]") -> None:
        super().__init__(scale=descriptor.scale)
        self.model = descriptor.model
        self.descriptor = descriptor
        self.tolerates_float16 = descriptor.supports_half
        self._mixed = False
        self._tolerates_bfloat16: bool | None = None
        self.channels = descriptor.input_channels
        self.takes_alpha = self.channels == 4
        self._halo = halo_of(descriptor.architecture.id, descriptor.model)
        self.streams = descriptor.architecture.id == "Compact" and self.channels == descriptor.output_channels == 3

    @classmethod
    def from_file(cls, path: Path) -> "ThirdPartyNetwork":
        """Load a network of any architecture that spandrel knows, in float32, on the CPU.

        Raises:
            WeightsError: the file holds something else, code, or an architecture that is unknown.
        """
        size = path.stat().st_size
        with growth_limited(_ALLOWANCE + 8 * size):
            descriptor = _load(path, size)
        channels = descriptor.input_channels, descriptor.output_channels
        if channels not in _CHANNELS:
            raise WeightsError(f"{path}: turns {channels[0]} channels into {channels[1]}; sr cannot use that")
        for name, values in descriptor.model.named_parameters():
            if values.ndim == 4 and not values.numel():  # a small RGT has an empty matrix, and works
                raise WeightsError(f"{path}: {name} is empty, {tuple(values.shape)}")
            if not values.isfinite().all():
                raise WeightsError(f"{path}: {name} has values that are not finite: damaged, or from a failed training")
        return cls(descriptor)

    @property
    def architecture(self) -> dict[str, Any]:
        return {"name": self.descriptor.architecture.name, "scale": self.scale}

    @property
    def geometry(self) -> Geometry:
        return super().geometry if self._halo is None else Geometry(scale=self.scale, halo=self._halo)

    def fuse(self, *, matrix_units: bool = False) -> nn.Module:  # noqa: ARG002
        if self.descriptor.architecture.id not in FUSED:
            return self
        fused = fuse_modules(self)
        if not self.streams:
            return fused
        *layers, tail = (each for each in fused.modules() if isinstance(each, FusedConv))
        nearest = torch.zeros(3, self.scale**2, 3, 5, 5)
        for channel in range(3):
            nearest[channel, :, channel, 2, 2] = 1
        return FusedCompact(layers, tail, scale=self.scale, skip=nearest.flatten(0, 1))

    def forward(self, lr: Tensor) -> Tensor:
        if self.channels == 1:
            sr = self._upscale(full_range_luma(lr))
        elif self.channels > lr.shape[1]:
            sr = self._upscale(F.pad(lr, [0, 0, 0, 0, 0, 1], value=1))[:, :3]  # opaque
        else:
            sr = self._upscale(lr)
        if sr.shape[1] > 1:
            return sr
        if self.channels == 3:
            return sr.expand(-1, 3, -1, -1)
        large = F.interpolate(lr, scale_factor=self.scale, mode="bicubic")
        return large + (sr - full_range_luma(large))  # its own luma, and the chroma of bicubic interpolation

    def _upscale(self, lr: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # a descriptor runs in inference mode
            sr: Tensor = self.descriptor._call_fn(self.model, lr)
            return sr
        height, width = lr.shape[-2:]
        least = _LEAST if self._halo is None else 1
        border = max(0, -(-(least - min(height, width)) // 2))
        sr = self._run(F.pad(lr, [border] * 4, mode="replicate"))
        start = border * self.scale
        return sr[..., start : start + height * self.scale, start : start + width * self.scale]

    def _run(self, lr: Tensor) -> Tensor:
        """The descriptor's result, even if the network makes float32 tensors of its own in half precision."""
        try:
            with torch.autocast(lr.device.type, lr.dtype) if self._mixed else nullcontext():
                return self.descriptor(lr)  # type: ignore[no-any-return]
        except RuntimeError as error:
            if self._mixed or lr.dtype == torch.float32 or "dtype" not in str(error):
                raise
        self._mixed = True
        return self._run(lr)

    def train(self, mode: bool = True) -> "ThirdPartyNetwork":
        super().train(mode)
        for module in self.modules():
            if type(module).__name__.startswith(("BatchNorm", "Dropout", "DropPath")):
                module.eval()
        return self

    @torch.no_grad()
    def tolerates_bfloat16(self) -> bool:
        """Whether bfloat16 is as good to the eye, on a small test picture; not a matter of time, which would vary."""
        if self._tolerates_bfloat16 is None:
            self.eval()
            half = InferenceForm(self, device=torch.device("cpu"), dtype=torch.bfloat16)
            lr = _test_picture()
            difference = 255 * (half(lr).float().clamp(0, 1) - self(lr).clamp(0, 1))
            self.bfloat16_difference = float(difference.abs().max())
            self._tolerates_bfloat16 = float(difference.square().mean().sqrt()) <= _ROUNDING
        return self._tolerates_bfloat16

    def weights(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = self.model.state_dict()
        return tensors

    def check_trainable(self, side: int) -> None:
        name, required = self.descriptor.architecture.name, self.descriptor.size_requirements
        if not required.check(side, side):
            fitting = side + required.get_padding(side, side)[0]
            raise UsageError(f"{name} cannot take LR patches of {side} pixels; use --crop-size {self.scale * fitting}")
        super().check_trainable(side)


def _test_picture() -> Tensor:
    """A gradient, hard edges and texture, ``(1, 3, 48, 48)``."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 48), indexing="ij")
    edges = ((x * 6).floor() + (y * 5).floor()) % 2
    texture = torch.sin(40 * x * (1 + y)) * torch.cos(31 * y)
    return torch.stack([0.6 * x + 0.3 * edges, 0.5 + 0.4 * texture * x, 0.2 + 0.6 * edges * y])[None].clamp(0, 1)


def _load(path: Path, size: int) -> "ImageModelDescriptor[nn.Module]":
    """What spandrel makes of a file of so many bytes."""
    state = _read_tensors(path)
    try:
        import spandrel
    except Exception as error:  # its torchvision may be for another PyTorch, and fails in ways of its own
        raise WeightsError(f"{path}: the package spandrel cannot be imported ({first_line(error)})") from error
    problem = "weights of an architecture that is unknown here"
    for tensors in _candidates(state):
        if len(tensors) > MOST_TENSORS:
            raise WeightsError(f"{path}: holds {len(tensors):,} tensors, more than any network")
        try:
            limit = _limited_to(8 * size + (_ALLOWANCE >> 4), count=4 * len(tensors) + 1000)
            with checking_parameters(limit):
                descriptor = spandrel.MAIN_REGISTRY.load(tensors)
        except spandrel.UnsupportedModelError:
            continue
        except Exception as error:  # RuntimeError, KeyError, AssertionError …: spandrel expects a sane file
            out = isinstance(error, MemoryError) or "allocate" in str(error)
            problem = f"its tensors don't fit its architecture ({_TOO_LARGE if out else first_line(error)})"
            continue
        if not isinstance(descriptor, spandrel.ImageModelDescriptor):
            raise WeightsError(f"{path}: {descriptor.architecture.name} is an inpainting model, not an upscaler")
        return descriptor
    raise WeightsError(f"{path}: {problem}")


def _limited_to(size: int, *, count: int) -> Callable[[nn.Module, str, nn.Parameter], None]:
    """Refuse, by a ``ValueError``, a network of more bytes or tensors than a file can hold."""
    left = [size, count]

    def check(_: nn.Module, __: str, parameter: nn.Parameter) -> None:
        left[0] -= parameter.nbytes
        left[1] -= 1
        if min(left) < 0:
            raise ValueError(_TOO_LARGE)

    return check


def _read_tensors(path: Path) -> object:
    """What the file holds, as its content tells: safetensors, or a pickle of which nothing but tensors is taken."""
    content = content_of(path)
    try:
        if content == "safetensors":
            return load_file(path)
        if content == "pickle":
            # Of the path, torch.load would look at the suffix.
            with path.open("rb") as file, torch.serialization.safe_globals(_HARMLESS):
                return torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # hostile bytes: UnpicklingError, RuntimeError, SafetensorError …
        code = re.search(r"GLOBAL ([\w.]+)", str(error))  # the rest is advice to read the file unsafely
        if code:
            raise WeightsError(f"{path}: holds code ({code[1]}): refused, only tensors are read") from error
        raise WeightsError(f"{path}: cannot be read as weights; it is damaged, or not complete") from error
    raise WeightsError(f"{path}: is {content}")


def _candidates(state: object, *, depth: int = 4) -> Iterator[dict[str, Tensor]]:
    """The tensors of a file as they are, and with what training scripts wrap around them taken off."""
    if not isinstance(state, Mapping) or not depth:
        return
    tensors = {key: each for key, each in state.items() if isinstance(key, str) and isinstance(each, Tensor)}
    if tensors:
        yield tensors
    for wrapper in _WRAPPERS:
        yield from _candidates(state.get(wrapper), depth=depth - 1)
        prefix = f"{wrapper}."
        inside = {key.removeprefix(prefix): each for key, each in tensors.items() if key.startswith(prefix)}
        if inside:
            yield from _candidates(inside, depth=depth - 1)
    for key, each in state.items():
        if key not in _WRAPPERS:
            yield from _candidates(each, depth=depth - 1)
