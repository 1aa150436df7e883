"""Networks by name, found without importing them (or torch).

Three kinds of names: those of this folder, a TOML file each; those that installed packages register as entry points of
the group ``sr_cli.networks``; and ``package.module:Class``, literally.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_cli.errors import SrError, UsageError, described
from sr_cli.system.packages import parse_toml

if TYPE_CHECKING:
    from sr_cli.networks.base import Network

GROUP = "sr_cli.networks"


@cache
def built_in() -> dict[str, dict[str, Any]]:
    """The TOML files of this folder, by name."""
    folder = Path(__file__).parent
    return {path.stem: parse_toml(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.toml"))}


def is_registered(name: object) -> bool:
    """Whether a network of this name, or of this ``package.module:Class``, is built in or was installed."""
    if not isinstance(name, str):
        return False
    return name in built_in() or any(name in registration for registration in _installed().items())


def name_of(network: "type[Network]") -> str:
    """The name under which a class is registered, else its ``package.module:Class``."""
    target = f"{network.__module__}:{network.__qualname__}"
    registered = _installed() | {name: entry["class"] for name, entry in built_in().items()}
    return next((name for name, known in registered.items() if known == target), target)


def scales_of(name: str) -> tuple[int, ...]:
    """The scales that a network comes in; empty if it doesn't say. Errors as in `resolve`."""
    return tuple(built_in()[name]["scales"]) if name in built_in() else resolve(name).scales


def recipe_of(name: str) -> Mapping[str, Any]:
    """The settings that its training starts from, see `sr_cli.config.recipe`. Errors as in `resolve`."""
    return built_in()[name]["recipe"] if name in built_in() else resolve(name).recipe


def is_described_by_file(name: str) -> bool:
    """Whether a weights file alone says what the network is, see `Network`. Errors as in `resolve`."""
    return built_in()[name].get("described_by_file", False) if name in built_in() else resolve(name).described_by_file


def resolve(name: str) -> "type[Network]":
    """Import a network's class. Its module runs, so the name must come from the user, or be registered.

    Raises:
        UsageError: no network has that name, its module cannot be imported, the class is not a `Network`, or its
            ``scales`` or ``recipe`` is of another type.
    """
    from sr_cli.networks.base import Network

    target = built_in()[name]["class"] if name in built_in() else _installed().get(name, name)
    module, separator, attribute = target.partition(":")
    if not separator:
        known = ", ".join(dict.fromkeys([*built_in(), *_installed()]))
        raise UsageError(f"unknown network {name!r}; choose {known}, or a class: package.module:Class")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # whatever its module raises
        is_here = isinstance(error, ModuleNotFoundError) and Path(f"{module}.py").is_file()
        hint = "; set PYTHONPATH=. for modules in this folder" * is_here
        raise UsageError(f"network {target}: cannot be imported ({type(error).__name__}: {error}){hint}") from error
    if not isinstance(found, type) or not issubclass(found, Network):
        raise UsageError(f"network {target}: not a subclass of sr_cli.Network")
    scales, recipe = found.scales, found.recipe
    if not isinstance(scales, tuple) or not all(isinstance(scale, int) and scale > 0 for scale in scales):
        raise UsageError(f"network {target}: its scales must be a tuple of whole numbers, not {scales!r}")
    if not isinstance(recipe, Mapping):
        raise UsageError(f"network {target}: its recipe must be a dictionary of settings, not {recipe!r}")
    return found


def build(*, name: str, **arguments: Any) -> "Network":
    """Build a network with fresh weights.

    Args:
        name: see `resolve`.
        arguments: of its constructor; ``None`` stands for the default.

    Raises:
        UsageError: see `resolve`; or the network doesn't come in that scale or shape; or one from outside is not what
            `sr_cli.networks.base.Network` says.
    """
    network = resolve(name)
    given = {key: value for key, value in arguments.items() if value is not None}
    if unknown := given.keys() - inspect.signature(network).parameters:
        raise UsageError(f"network {name}: has a fixed {' and '.join(sorted(unknown))}")
    try:
        built = network(**given)
    except Exception as error:  # whatever a constructor raises
        raise UsageError(f"network {name}: cannot be built with {given} ({described(error)})") from error
    if name not in built_in():
        from sr_cli.networks.trial import try_out

        try_out(built, name, given)
    return built


def build_from_file(name: str, path: Path) -> "Network":
    """Build the network that a file of another project describes; errors as in `resolve` and `Network.from_file`."""
    network = resolve(name)
    with blamed(name, f"from_file() on {path}"):
        return network.from_file(path)


@contextmanager
def blamed(name: str, what: str) -> Iterator[None]:
    """Turn whatever the code of a network from outside raises into a `UsageError` that says what failed."""
    try:
        yield
    except SrError:
        raise
    except Exception as error:
        if name in built_in():
            raise
        raise UsageError(f"network {name}: {what} fails ({described(error)})") from error


@cache
def _installed() -> dict[str, str]:
    """``package.module:Class`` by name."""
    from importlib.metadata import entry_points  # slow to import, and rarely needed

    return {point.name: f"{point.module}:{point.attr}" for point in entry_points(group=GROUP)}
