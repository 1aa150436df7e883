"""The networks by name."""

from sr_cli.errors import WeightsError
from sr_cli.networks.base import Network
from sr_cli.networks.compact import Compact
from sr_cli.networks.johnson import Johnson

ARCHITECTURES: dict[str, type[Network]] = {"johnson": Johnson, "compact": Compact}


def name_of(kind: type[Network]) -> str:
    """The name under which a network is registered."""
    return next(name for name, known in ARCHITECTURES.items() if known is kind)


def build(*, name: str, scale: int, width: int | None = None, depth: int | None = None) -> Network:
    """Build a network with fresh weights.

    Args:
        name: ``johnson`` or ``compact``.
        scale: one of the architecture's ``scales``.
        width: channels, for ``compact`` only.
        depth: inner convolutions, for ``compact`` only.

    Raises:
        WeightsError: no architecture has that name.
        ValueError: the architecture doesn't come in that scale or shape.
    """
    if name not in ARCHITECTURES:
        raise WeightsError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    if name == "johnson":
        if width is not None or depth is not None:
            raise ValueError("johnson has a fixed width and depth")
        return Johnson(scale=scale)
    shape = {key: value for key, value in (("width", width), ("depth", depth)) if value is not None}
    return Compact(scale=scale, **shape)
