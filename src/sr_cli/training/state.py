"""Where a training stands, what it reports after every step, and how to ask it to stop."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sr_cli.evaluation.measures import Measure
from sr_cli.system.telemetry import EnergyReport, Reading


@dataclass
class Progress:
    """Where a training stands, besides its weights: the numbers that are saved with its state.

    Attributes:
        step: steps done; the next batch has this number.
        elapsed: seconds that they took.
        best: value of ``TrainConfig.best`` in the best validation, which came at ``best_step``; ``None`` before one.
        stale: validations since then.
        lr_factor: factor of the learning rate, halved at every rollback.
        rollbacks: how many there have been; the last one went back to the step ``rolled_back_to``.
        sums: losses, seconds and steps since the last row of ``metrics.csv``.
        energy: what was consumed until the state was saved: an `EnergyReport` as a dictionary.
    """

    step: int = 0
    elapsed: float = 0.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    lr_factor: float = 1.0
    rollbacks: int = 0
    rolled_back_to: int | None = None
    sums: dict[str, float] = field(default_factory=dict)
    energy: dict[str, Any] | None = None

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Progress":
        """The progress in a state that a file held; a ``TypeError``, ``ValueError`` or ``KeyError`` if it is none."""
        progress = cls(**state["progress"])
        counts = (progress.step, progress.best_step, progress.stale, progress.rollbacks, progress.rolled_back_to or 0)
        values = [progress.elapsed, progress.best or 0, progress.lr_factor, *progress.sums.values()]
        if progress.energy_report is not None:
            energy = {k: v for k, v in asdict(progress.energy_report).items() if k not in ("device", "method")}
            values += [each or 0 for each in energy.values()]
        if not all(type(each) is int and each >= 0 for each in counts):
            raise ValueError("a count is none")
        if not all(type(each) in (int, float) and math.isfinite(each) for each in values):
            raise ValueError("a number is none")
        return progress

    @property
    def energy_report(self) -> EnergyReport | None:
        return None if self.energy is None else EnergyReport(**self.energy)

    def add(self, values: dict[str, float]) -> None:
        """Count a step and add its values to the sums."""
        self.step += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def improves(self, value: float, measure: Measure) -> bool:
        """Take note of a validation's value, NaN if it has none; whether it is the best so far."""
        known = math.inf if self.best is None else measure.badness(self.best)
        best = not math.isnan(value) and measure.badness(value) < known
        if best:
            self.best, self.best_step = value, self.step
        self.stale = 0 if best else self.stale + 1
        return best


@dataclass(frozen=True)
class TrainStep:
    """What happened in one step.

    Attributes:
        fraction: how much of the training is done, in [0, 1].
        epoch: epochs done, including the fraction of the current one.
        losses: the weighted terms whose sum was minimized, and the discriminator's loss and logits.
        seconds: duration of the step, of which ``loading`` was spent waiting for data.
        teaching: how much of it the teacher took, in seconds.
        validation: means over the held-out photos by the names of measures, in steps that validate.
        best: whether ``validation`` is the best so far.
        best_yet: value and step of the best validation so far.
        remarks: warnings, such as photos that cannot be decoded or a rollback.
        energy: what the training consumed, in its last step.
    """

    step: int
    fraction: float
    epoch: float
    losses: dict[str, float]
    lr: float
    seconds: float
    loading: float
    teaching: float = 0.0
    validation: Mapping[str, float] | None = None
    best: bool = False
    best_yet: tuple[float, int] | None = None
    remarks: tuple[str, ...] = ()
    reading: Reading | None = None
    energy: EnergyReport | None = None


class Stop:
    """Set ``wanted`` to let a training finish its step, save and end."""

    wanted = False
