"""Quantities as text: a figure with its unit, or ``unavailable``, never 0."""

UNAVAILABLE = "unavailable"


def quantity(value: float | None, unit: str, *, digits: int = 3) -> str:
    """A value with its unit, such as ``12.3 Wh``."""
    return UNAVAILABLE if value is None else f"{significant(value, digits=digits)} {unit}"


def significant(value: float, *, digits: int = 3) -> str:
    """The value with this many significant digits; all of its whole digits, and no exponent for small values."""
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def megabytes(value: int | None) -> str:
    """Bytes in MB of 10⁶ bytes, such as ``553 MB``."""
    return quantity(None if value is None else value / 1e6, "MB", digits=2)


def pictures(count: int) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{count} picture{'' if count == 1 else 's'}"


def percent(value: float | None) -> str:
    """A fraction in [0, 1] as a percentage."""
    return UNAVAILABLE if value is None else f"{value:.0%}"


def watts(value: float | None) -> str:
    """Power, with a decimal below 10 W."""
    return quantity(value, "W", digits=2)


def celsius(value: float | None) -> str:
    """Degrees Celsius, rounded."""
    return UNAVAILABLE if value is None else f"{value:.0f} °C"
