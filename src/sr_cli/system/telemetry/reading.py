"""What a device tells about itself at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyCounter:
    """A counter of energy that only grows, until it begins anew at its range.

    Attributes:
        joules: since a moment that nobody knows.
        range: the joules at which the counter starts again from 0; ``None`` for one that never does.
    """

    joules: float
    range: float | None = None


@dataclass(frozen=True)
class Reading:
    """A device at one moment. ``None`` is for what the device doesn't tell, never 0.

    Attributes:
        name: the device's name, such as ``NVIDIA GeForce RTX 3060``.
        utilization: the share of time that the device was busy lately, 0 to 1.
        memory_used: bytes in use: on a GPU by everybody, on a CPU by this process.
        memory_total: bytes that there are.
        power: watts.
        temperature: degrees Celsius.
        driver: the driver's version.
        counters: the device's energy counters; empty where it has none.
    """

    name: str
    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power: float | None = None
    temperature: float | None = None
    driver: str | None = None
    counters: tuple[EnergyCounter, ...] = ()


def joules_between(before: tuple[EnergyCounter, ...], after: tuple[EnergyCounter, ...]) -> float | None:
    """Energy that the counters have counted from one reading to the next, a wrap-around allowed for.

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
