"""Where a training stands, besides what the network has learnt."""

import math
from dataclasses import dataclass, field
from typing import Any

from sr_cli.system.telemetry import EnergyReport


@dataclass
class Progress:
    """Numbers that are saved with the state.

    Attributes:
        step: steps done; the next batch is the one of that number.
        elapsed: seconds that they took.
        best: the best validation, in dB; ``stale`` validations ago.
        lr_factor: what is left of the learning rate after ``rollbacks``, the last of them to the step ``went_back_to``.
        since: sums since the last row of ``metrics.csv``.
        energy: what was consumed until the state was saved, as an `EnergyReport` has it.
    """

    step: int = 0
    elapsed: float = 0.0
    best: float = -math.inf
    stale: int = 0
    lr_factor: float = 1.0
    rollbacks: int = 0
    went_back_to: int | None = None
    since: dict[str, float] = field(default_factory=dict)
    energy: dict[str, Any] | None = None

    @property
    def energy_report(self) -> EnergyReport | None:
        return None if self.energy is None else EnergyReport(**self.energy)

    def add(self, sums: dict[str, float]) -> None:
        """Add to the sums since the last row."""
        for name, value in sums.items():
            self.since[name] = self.since.get(name, 0.0) + value
