"""`Network`: what the rest of the package asks of a network, with defaults that are safe for any."""

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sr_cli.errors import UsageError, described
from sr_cli.networks.registry import name_of


@dataclass(frozen=True)
class Geometry:
    """How the output of a network depends on its input, in LR pixels.

    Attributes:
        halo: context that a tile is given on every side beyond the pixels that are kept.
        blend: half the width of the zone in which neighboring tiles are blended; 0 for exact tiles.
    """

    scale: int
    halo: int
    blend: int = 0

    @property
    def margin(self) -> int:
        """Context of a tile on both sides together."""
        return 2 * (self.halo + self.blend)

    @property
    def smallest(self) -> int:
        """The smallest side of a tile that may be cut further: two blended zones must not meet."""
        return max(1, 4 * self.blend)


class Network(nn.Module):
    """A super-resolution network: ``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)``, clamped or not.

    A subclass takes ``scale`` and other keyword arguments, all of them JSON values, and keeps each as an attribute of
    the same name; so its weights files can rebuild it. All other methods have defaults that suit any network.

    Args:
        scale: one of the class's ``scales``.

    Raises:
        ValueError: the network doesn't come in that scale.
    """

    scales: ClassVar[tuple[int, ...]] = ()
    """The scales it comes in; empty for a network that is known by one set of weights only."""

    recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of `sr_cli.TrainConfig` that ``sr train`` starts from, see `sr_cli.config.recipe`."""

    inner_layers: ClassVar[tuple[str, ...]] = ("body", "upsampling")
    """Modules between the first and the last layer; `sr_cli.training.muon` is for their kernels."""

    output_layers: ClassVar[tuple[str, ...]] = ("tail",)
    """Modules whose learning rate ``output_lr`` scales."""

    streams: bool = False
    """Whether the module that `fuse` returns has ``stream() -> Stream``, see `sr_cli.networks.fast.streaming`."""

    file_format: ClassVar[str] = "sr-cli 1"
    """What the header of its weights files says they are."""

    described_by_file: ClassVar[bool] = False
    """Whether a weights file alone says what the network is: `from_file` builds it, so training needs ``--init``."""

    bfloat16_difference: float | None = None
    """How far results in bfloat16 are from float32 at most, in 8-bit values, if `tolerates_bfloat16` had to try."""

    takes_alpha: bool = False
    """Whether it takes, and makes, RGBA as well as RGB."""

    tolerates_float16: bool = True
    """Whether ``--dtype auto`` may choose float16 on GPUs."""

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        if self.scales and scale not in self.scales:
            raise ValueError(f"scale {scale} is not one of {', '.join(map(str, self.scales))}")
        self.scale = scale

    @classmethod
    def from_file(cls, path: Path) -> "Network":
        """The network of a file that ``sr`` didn't write, for classes that are `described_by_file`.

        Raises:
            WeightsError: the file is of another network, or damaged.
        """
        raise NotImplementedError

    @property
    def architecture(self) -> dict[str, Any]:
        """Its name and the arguments that rebuild it: ``build(**network.architecture)``."""
        arguments = inspect.signature(type(self)).parameters
        return {"name": name_of(type(self)), **{name: getattr(self, name) for name in arguments}}

    @property
    def geometry(self) -> Geometry:
        """How its tiles overlap. The default suits a receptive field of any size: wide, blended overlaps."""
        return Geometry(scale=self.scale, halo=16, blend=16)

    def fuse(self, *, matrix_units: bool = False) -> nn.Module:  # noqa: ARG002
        """The inference form: a module with the same results to about 1e-6 that runs faster; by default the network.

        Args:
            matrix_units: whether it will run where matrices are multiplied by units of their own, such as bfloat16
                on AMX or half precision on a GPU.

        Returns:
            A module for inference. Buffers that it names in ``keep_in_float32`` stay float32 in half precision, and its
            input too.
        """
        return self

    def memory(self, height: int, width: int, *, itemsize: int = 4) -> int | None:
        """About how many bytes the inference form takes for an LR image, its result in float32 included.

        Args:
            height, width: of the LR image, in pixels.
            itemsize: bytes of a value inside.

        Returns:
            ``None``: unknown; it is then estimated from a run on a small image.
        """

    def weights(self) -> dict[str, Tensor]:
        """The tensors that a weights file holds."""
        return self.state_dict()

    def initialize(self, how: str) -> None:
        """Reinitialize as ``--initialization`` says; by default the network starts in its own way."""

    def tolerates_bfloat16(self) -> bool:
        """Whether ``--dtype auto`` may choose bfloat16 on CPUs that are fast in it."""
        return True

    def check_trainable(self, side: int) -> None:
        """Check that a gradient reaches the weights from LR patches of ``side`` pixels.

        Raises:
            UsageError: it doesn't, or the network fails on them.
        """
        name, training = self.architecture["name"], self.training
        buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.train()(torch.rand(2, 3, side, side)).sum().backward()
        except Exception as error:  # whatever a network from outside raises
            raise UsageError(f"{name} cannot be trained on LR patches of {side} pixels ({described(error)})") from error
        if not any(parameter.grad is not None and parameter.grad.any() for parameter in self.parameters()):
            raise UsageError(f"{name} cannot be trained: its result has no gradient with respect to its weights")
        self.zero_grad()
        self.train(training)
        for buffer, value in buffers:
            buffer.data.copy_(value)

    def can_start_from(self, other: "Network") -> bool:
        """Whether ``--init`` may take over another network's weights; tensors of other shapes keep their values."""
        return other.architecture | {"scale": self.scale} == self.architecture

    def kernels_and_output(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The 4-D kernels of `inner_layers`, and the parameters of `output_layers`."""
        kernels, output = [], []
        for name, parameter in self.named_parameters():
            layer = name.partition(".")[0]
            if layer in self.inner_layers and parameter.ndim == 4:
                kernels.append(parameter)
            elif layer in self.output_layers:
                output.append(parameter)
        return kernels, output


@contextmanager
def checking_parameters(check: Callable[[nn.Module, str, nn.Parameter], None]) -> Iterator[None]:
    """Check each parameter that modules register, by module, name and parameter, to end a build by an exception.

    A parameter is registered before its values are set, so its memory is not in use yet.
    """
    thread = threading.get_ident()

    def check_own(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() == thread:
            check(module, name, parameter)

    hook = register_module_parameter_registration_hook(check_own)
    try:
        yield
    finally:
        hook.remove()


def describe(network: Network) -> str:
    """Its architecture for messages, such as ``compact x4, width 64, depth 16``."""
    others = network.architecture
    title = f"{others.pop('name')} x{others.pop('scale')}"
    return ", ".join([title, *(f"{name} {value}" for name, value in others.items())])
