"""Networks of other projects: convolution and activation in one step, and without copies that aren't needed."""

import copy
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from sr_cli.networks.fast.onednn import FusedConv

FUSED = ("Compact", "ESRGAN", "SPAN")
"""Architectures that are nothing but convolutions; others gain 5 % or less."""

_HALO: dict[str, Callable[[Any], int]] = {
    "Compact": lambda network: len([each for each in network.body if isinstance(each, nn.Conv2d)]),
    "SPAN": lambda _: 21,
}
"""The radius of the receptive field in LR pixels: as many as there are 3×3 convolutions in a row. Of ESRGAN it is some
350, and with less context than that its results do differ."""


def halo_of(architecture: str, network: nn.Module) -> int | None:
    """The context that makes tiles exact, in LR pixels; ``None`` for a network that sees everything, or very far."""
    return _HALO[architecture](network) if architecture in _HALO else None


def fuse_modules(network: nn.Module) -> nn.Module:
    """A copy that shares the parameters and computes the same to rounding, for inference.

    Blocks that aren't known, and convolutions that aren't plain, stay as they are.
    """
    shared: dict[int, Any] = {id(each): each for each in (*network.parameters(), *network.buffers())}
    fused = copy.deepcopy(network, shared)
    for module in [*fused.modules()]:
        for name, child in module.named_children():
            kind = type(child).__name__
            if kind == "RRDB" and all(FusedDenseBlock.suits(each) for each in child.children()):
                setattr(module, name, FusedRRDB(child))
            elif kind == "Conv3XC":
                setattr(module, name, _reparameterized(child))
        if type(module) is nn.Sequential:
            fuse_layers(module)
        elif type(module).__name__ == "SRVGGNetCompact":
            fuse_layers(module.body)  # type: ignore[arg-type]
    return fused


def fuse_layers(layers: nn.Sequential | nn.ModuleList) -> None:
    """Join the convolutions and activations of layers that run one after the other, in place."""
    for index, (layer, after) in enumerate(zip([*layers], [*[*layers][1:], None], strict=True)):
        if _is_plain(layer):
            layers[index] = fused = _fused(layer, after)
            if fused.activation != "none":
                layers[index + 1] = nn.Identity()


def _fused(layer: nn.Conv2d, after: nn.Module | None) -> FusedConv:
    if isinstance(after, nn.ReLU):
        return FusedConv(layer, "relu")
    if isinstance(after, nn.LeakyReLU):
        return FusedConv(layer, "leaky_relu", slope=after.negative_slope)
    if isinstance(after, nn.PReLU):
        return FusedConv(layer, "prelu", slope=after.weight)
    return FusedConv(layer)


def _is_plain(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    return layer.stride == (1, 1) and layer.dilation == (1, 1) and layer.groups == 1


class FusedRRDB(nn.Module):
    """Three dense blocks with a skip around them.

    Source: residual-in-residual dense block, Wang et al. 2018 (ESRGAN, arXiv 1809.00219), section 3.1.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FusedDenseBlock(each) for each in block.children())

    def forward(self, features: Tensor) -> Tensor:
        result = features.clone()
        for block in self.blocks:
            block(result)
        return torch.add(features, result, alpha=0.2)


class FusedDenseBlock(nn.Module):
    """Five convolutions, each of which sees the results of all before it; they lie in one tensor from the beginning."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        *inner, last = (next(each for each in layers.modules() if _is_plain(each)) for layers in block.children())
        self.inner = nn.ModuleList(FusedConv(each, "leaky_relu", slope=0.2) for each in inner)
        last = copy.deepcopy(last)
        for parameter in last.parameters():
            parameter.data *= 0.2  # as the block's result is
        self.last = FusedConv(last)

    @staticmethod
    def suits(block: nn.Module) -> bool:
        """Whether a block is as published: five plain convolutions, all but the last with a leaky ReLU of slope 0.2."""
        layers = [[*each] if isinstance(each, nn.Sequential) else [each] for each in block.children()]
        *inner, last = layers
        return (
            type(block).__name__ == "ResidualDenseBlock_5C"
            and len(layers) == 5
            and all(map(_is_plain, (each[0] for each in layers)))
            and all(len(each) == 2 and getattr(each[1], "negative_slope", None) == 0.2 for each in inner)
            and len(last) == 1
        )

    def forward(self, total: Tensor) -> Tensor:
        """Add the block's result to its input, in place."""
        count, known, height, width = total.shape
        features = total.new_empty(count, height, width, self.last.weight.shape[1]).permute(0, 3, 1, 2)
        features[:, :known] = total
        for convolution in self.inner:
            new = convolution(features[:, :known])
            features[:, known : known + new.shape[1]] = new
            known += new.shape[1]
        return self.last.added_to(total, features)


def _reparameterized(block: Any) -> FusedConv:
    """The one convolution that a block of SPAN amounts to, which it would compute anew at every call."""
    block.update_params()
    return FusedConv(block.eval_conv, *(("leaky_relu",) if block.has_relu else ()), slope=0.05)
