"""A trial of networks from outside: what the package relies on holds, or a line says what doesn't."""

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, nn

from sr_cli.errors import UsageError
from sr_cli.networks.base import Geometry, Network
from sr_cli.networks.registry import blamed

_HEIGHT, _WIDTH = 19, 23  # of the LR image: odd, and not square


def try_out(network: Network, name: str, given: Mapping[str, Any]) -> None:
    """Check what the package relies on in a network from outside.

    Args:
        network: is left as it is.
        given: the arguments that it was built with.

    Raises:
        UsageError: it keeps another value than it was given, or none, has no parameters, cannot upscale, or a method or
            property fails or returns something else than `Network` says.
    """

    def require(holds: object, complaint: str) -> None:
        if not holds:
            raise UsageError(f"network {name}: {complaint}")

    def check(what: str, get: Callable[[], Any], holds: Callable[[Any], bool], expected: str) -> Any:
        with blamed(name, what):
            value = get()
            fits = holds(value)
        require(fits, f"{what} must be {expected}, not {value!r:.200}")
        return value

    def check_result(what: str, module: nn.Module) -> None:
        with blamed(name, f"{what} on {_WIDTH} × {_HEIGHT} pixels"):
            sr = module.eval()(torch.full((1, 3, _HEIGHT, _WIDTH), 0.5))
        expected = (1, 3, network.scale * _HEIGHT, network.scale * _WIDTH)
        found = tuple(sr.shape) if isinstance(sr, Tensor) else type(sr).__name__
        require(found == expected, f"{what} makes {found} of (1, 3, {_HEIGHT}, {_WIDTH}); it must make {expected}")

    for argument in inspect.signature(type(network)).parameters:
        require(hasattr(network, argument), f"must keep its argument {argument} as an attribute of the same name")
        kept = getattr(network, argument)
        try:
            same = json.dumps(kept) == json.dumps(given.get(argument, kept))
        except (TypeError, ValueError) as error:
            raise UsageError(f"network {name}: its argument {argument} is not a JSON value ({error})") from error
        require(same, f"its argument {argument} is {given.get(argument)}, but it keeps {kept}")
    require(any(True for _ in network.parameters()), "has no parameters")
    training = network.training
    with torch.no_grad():
        check_result("forward", network)
        for units in (False, True):
            fused = check("fuse()", lambda: network.fuse(matrix_units=units), _is(nn.Module), "a module")  # noqa: B023
            with blamed(name, "copy.deepcopy(network.fuse())"):
                form = copy.deepcopy(fused)
            check_result("the result of fuse()", form)
            streaming = callable(getattr(form, "stream", None))
            require(streaming or not network.streams, "it streams, but the result of fuse() has no stream()")
    network.train(training)
    check("geometry", lambda: network.geometry, _suits(network.scale), f"a Geometry of scale {network.scale}")
    check("memory()", lambda: network.memory(_HEIGHT, _WIDTH, itemsize=4), _is(int, type(None)), "an int or None")
    check("weights()", network.weights, lambda it: all(map(_is(Tensor), it.values())), "a dictionary of tensors")
    check("architecture", lambda: network.architecture, lambda it: bool(json.dumps(it) and it["name"]), "JSON values")
    check("kernels_and_output()", network.kernels_and_output, _are_parameters, "two lists of parameters")


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda it: isinstance(it, types)


def _suits(scale: int) -> Callable[[Any], bool]:
    return lambda it: (
        isinstance(it, Geometry) and it.scale == scale and all(isinstance(n, int) and n >= 0 for n in astuple(it))
    )


def _are_parameters(it: Any) -> bool:
    kernels, output = it
    return all(isinstance(each, nn.Parameter) for each in (*kernels, *output))
