"""What every network here has in common."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True)
class Geometry:
    """How the output of a network depends on its input, in LR pixels.

    Attributes:
        scale: SR over LR.
        halo: what a tile is shown beyond what it keeps.
        blend: half the width of the zone in which neighbouring tiles are blended; 0 for exact tiles.
    """

    scale: int
    halo: int
    blend: int = 0

    @property
    def smallest(self) -> int:
        """The smallest side of a tile that may be cut further: between two blended zones there must be some room."""
        return max(1, 4 * self.blend)


class Network(Protocol):
    """What the rest of the package knows of a network."""

    scales: ClassVar[tuple[int, ...]]
    scale: int

    @property
    def halo(self) -> int:
        """LR pixels around a region that its output depends on: the radius of the receptive field."""

    @property
    def architecture(self) -> dict[str, Any]:
        """Its name and the arguments that build it again: ``build(**network.architecture)``."""


def check_scale(scale: int, scales: tuple[int, ...]) -> None:
    if scale not in scales:
        raise ValueError(f"scale {scale} is not one of {', '.join(map(str, scales))}")
