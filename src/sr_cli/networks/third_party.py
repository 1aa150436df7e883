"""Networks of other projects, through the package `spandrel`: Real-ESRGAN, SPAN, SwinIR, DAT and many more."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from sr_cli.errors import UsageError, WeightsError
from sr_cli.networks.base import Network

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")

_LEAST = 32  # side of the smallest image that every architecture can take


class ThirdPartyNetwork(Network):
    """A network of another project, with the interface of ours.

    In training mode, batch normalization keeps its statistics, and nothing drops out.

    Shapes:
        ``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)``, in [0, 1] when no gradient is wanted.
    """

    file_format: ClassVar[str] = "third-party"
    described_by_file: ClassVar[bool] = True
    tolerates_bfloat16: ClassVar[bool] = False

    def __init__(self, descriptor: "ImageModelDescriptor[nn.Module]") -> None:
        super().__init__(scale=descriptor.scale)
        self.model = descriptor.model
        self.descriptor = descriptor
        self.tolerates_float16 = descriptor.supports_half

    @classmethod
    def from_file(cls, path: Path) -> "ThirdPartyNetwork":
        """Load a network of any architecture that spandrel knows, in float32, on the CPU. Only tensors are unpickled.

        Raises:
            WeightsError: spandrel is not installed, doesn't know the file's architecture, or refuses the file.
        """
        try:
            import spandrel
        except ImportError:
            raise WeightsError(
                f"{path}: not weights that sr wrote; "
                "those of other projects need a package: pip install 'sr-cli[models]'"
            ) from None
        try:
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
            descriptor = spandrel.ModelLoader().load_from_state_dict(spandrel.canonicalize_state_dict(state))
        except spandrel.UnsupportedModelError:
            raise WeightsError(f"{path}: weights of an architecture that is unknown here") from None
        except Exception as error:  # hostile bytes: UnpicklingError, RuntimeError, KeyError, SafetensorError …
            raise WeightsError(f"{path}: not weights that can be read safely ({_first_line(error)})") from error
        if not isinstance(descriptor, spandrel.ImageModelDescriptor):
            raise WeightsError(f"{path}: {descriptor.architecture.name} is an inpainting model, not an upscaler")
        if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
            channels = f"{descriptor.input_channels} channels in and {descriptor.output_channels} out"
            raise WeightsError(f"{path}: has {channels}; sr needs a network for RGB")
        return cls(descriptor)

    @property
    def architecture(self) -> dict[str, Any]:
        return {"name": self.descriptor.architecture.name, "scale": self.scale}

    def forward(self, lr: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # a descriptor runs in inference mode
            sr: Tensor = self.descriptor._call_fn(self.model, lr)
            return sr
        height, width = lr.shape[-2:]
        border = max(0, -(-(_LEAST - min(height, width)) // 2))
        sr = self.descriptor(F.pad(lr, [border] * 4, mode="replicate"))
        start = border * self.scale
        return sr[..., start : start + height * self.scale, start : start + width * self.scale]

    def train(self, mode: bool = True) -> "ThirdPartyNetwork":
        super().train(mode)
        for module in self.modules():
            if type(module).__name__.startswith(("BatchNorm", "Dropout", "DropPath")):
                module.eval()
        return self

    def weights(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = self.model.state_dict()
        return tensors

    def check_trainable(self, side: int) -> None:
        name, required = self.descriptor.architecture.name, self.descriptor.size_requirements
        if not required.check(side, side):
            fitting = side + required.get_padding(side, side)[0]
            raise UsageError(f"{name} cannot take LR patches of {side} pixels; use --crop-size {self.scale * fitting}")
        self.train()
        try:
            self(torch.rand(1, 3, side, side)).sum().backward()
        except RuntimeError as error:
            raise UsageError(f"{name} cannot be trained: {_first_line(error)}") from error
        if not any(parameter.grad is not None and parameter.grad.any() for parameter in self.parameters()):
            raise UsageError(f"{name} cannot be trained: its form in spandrel is for inference only")
        self.zero_grad()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
