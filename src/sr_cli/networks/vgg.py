"""The loss network: VGG-16, frozen, its layers by name."""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sr_cli.errors import UsageError, WeightsError

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Not torchvision's vgg16(): its import takes a second, and fails where its version doesn't match torch's.
_NAMES = [
    name
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1)
    for name in (*(f"{kind}{block}_{i + 1}" for i in range(convolutions) for kind in ("conv", "relu")), f"pool{block}")
]

VGG_LAYERS = {name: index for index, name in enumerate(_NAMES) if not name.startswith("pool")}
"""Index in torchvision's ``vgg16().features`` of each layer that can be tapped.

``relu2_2`` is that of Johnson et al.; ``conv2_2`` is the same before its ReLU.
"""


class VGGFeatures(nn.Module):
    """The frozen loss network: VGG-16 up to the deepest layer that is asked for.

    Always in eval mode, without gradients for its weights; it normalizes the input by ImageNet's statistics.

    Args:
        state: weights with torchvision's keys ``features.N.weight`` and ``features.N.bias``; others are ignored.
        layers: names out of `VGG_LAYERS`.

    Raises:
        UsageError: a layer that VGG-16 doesn't have.
        WeightsError: a key is missing, or has another shape.

    Shapes:
        ``(N, 3, H, W)`` in [0, 1] → for each layer ``(N, C, H / 2ᵏ, W / 2ᵏ)``, k being the poolings before it.

    Source: Simonyan and Zisserman 2014, configuration D; torchvision's ``VGG16_Weights.IMAGENET1K_V1``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, state: Mapping[str, Tensor], layers: Iterable[str]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        for layer in self.layers:
            if layer not in VGG_LAYERS:
                raise UsageError(f"VGG-16 has no layer {layer!r}; it has {', '.join(VGG_LAYERS)}")
        last = max(VGG_LAYERS[layer] for layer in self.layers)
        if problem := _problem(state, last):
            raise WeightsError(problem)
        self.features = _vgg_until(last)
        self.features.load_state_dict({key: state[f"features.{key}"].float() for key in self.features.state_dict()})
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        tapped = {VGG_LAYERS[layer] for layer in self.layers}
        for index, module in enumerate(self.features):
            if isinstance(module, nn.ReLU):
                module.inplace = index - 1 not in tapped  # a tapped convolution's output must survive
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "VGGFeatures":  # noqa: ARG002
        """Stay in eval mode: the loss network doesn't learn."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        tapped = {VGG_LAYERS[layer]: layer for layer in self.layers}
        features, found = (image - self.mean) / self.std, {}
        for index, module in enumerate(self.features):
            features = module(features)
            if index in tapped:
                found[tapped[index]] = features
        return found


def _vgg_until(last: int) -> nn.Sequential:
    """torchvision's ``vgg16().features`` from its first layer to ``last``."""
    modules: list[nn.Module] = []
    channels = 3
    for name in _NAMES:
        width = min(32 * 2 ** int(name[4]), 512)
        if name.startswith("conv"):
            modules.append(nn.Conv2d(channels, width, 3, padding=1))
            channels = width
        else:
            modules.append(nn.ReLU() if name.startswith("relu") else nn.MaxPool2d(2))
    return nn.Sequential(*modules[: last + 1])


def _problem(state: Mapping[str, Tensor], last: int) -> str | None:
    """What keeps a file's content from being the weights of VGG-16 up to its layer ``last``, if anything does."""
    with torch.device("meta"):
        wanted = {f"features.{key}": value.shape for key, value in _vgg_until(last).state_dict().items()}
    for key, shape in wanted.items():
        if key not in state or state[key].shape != shape:
            trouble = "has another shape" if key in state else "is missing"
            return f"not VGG-16 weights in torchvision's layout: {key} {trouble}"
    return None


def load_vgg_state(path: Path, layers: Iterable[str] = ()) -> dict[str, Tensor]:
    """Read VGG-16 weights: torchvision's ``.pth``, or ``.safetensors`` with the same keys.

    Args:
        layers: names out of `VGG_LAYERS` that it has to reach.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        raise WeightsError(f"{path}: not a weights file that can be read safely") from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: not VGG-16 weights in torchvision's layout")
    if reached := [VGG_LAYERS[layer] for layer in layers if layer in VGG_LAYERS]:
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if problem := _problem(tensors, max(reached)):
            raise WeightsError(f"{path}: {problem}")
    return state
