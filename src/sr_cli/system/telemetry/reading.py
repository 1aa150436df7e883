"""The state of a device at one moment."""

from dataclasses import dataclass

from sr_cli.system.quantities import UNAVAILABLE, celsius, megabytes, percent, watts


@dataclass(frozen=True)
class EnergyCounter:
    """A counter of energy, which only grows until it wraps around.

    Attributes:
        joules: since an unspecified origin; only differences mean anything.
        range: the joules at which the counter wraps around to 0; ``None`` if it never does.
    """

    joules: float
    range: float | None = None


@dataclass(frozen=True)
class Reading:
    """A device at one moment. What it does not report is ``None``, never 0.

    Attributes:
        name: such as ``NVIDIA GeForce RTX 3060``.
        utilization: the share of recent time that the device was busy, in [0, 1].
        memory_used: bytes; by this process where it is measured, by all processes of a GPU in `sr_cli.info`.
        memory_total: bytes.
        power: watts.
        temperature: degrees Celsius.
        counters: the device's energy counters; empty if it has none.
    """

    name: str
    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power: float | None = None
    temperature: float | None = None
    driver: str | None = None
    counters: tuple[EnergyCounter, ...] = ()

    def summary(self) -> str:
        """The device's state in one line; what it does not report is left out."""
        shown = [percent(self.utilization), megabytes(self.memory_used), watts(self.power), celsius(self.temperature)]
        return ", ".join([self.name, *(text for text in shown if text != UNAVAILABLE)])


def joules_between(before: tuple[EnergyCounter, ...], after: tuple[EnergyCounter, ...]) -> float | None:
    """Energy between two readings of the same counters, with wrap-around.

    Returns:
        Joules; ``None`` if there are no counters, one was reset, or none has moved: in a virtual machine a counter
        may stand still, and no device consumes nothing.
    """
    if not before or len(before) != len(after):
        return None
    joules = 0.0
    for old, new in zip(before, after, strict=True):
        advance = new.joules - old.joules
        if advance < 0:
            if new.range is None:
                return None
            advance += new.range
        joules += advance
    return joules if joules > 0 else None
