"""Trainings of a few steps."""

import pytest

from sr_cli.system.telemetry import probe


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the CPU's state over a moment: the tests begin some fifty trainings, each of which waits for it."""
    monkeypatch.setattr(probe, "SHORTEST", 0.02)
