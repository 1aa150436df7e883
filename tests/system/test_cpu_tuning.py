"""How threads wait."""

import os

import pytest

from sr_cli.system.cpu_tuning import limit_openmp_spin


@pytest.mark.parametrize(
    ("before", "spins"),
    [({}, True), ({"GOMP_SPINCOUNT": "7"}, True), ({"OMP_WAIT_POLICY": "ACTIVE"}, False)],
)
def test_what_the_environment_says_goes_before(monkeypatch, before, spins):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    limit_openmp_spin()
    assert {name: os.environ[name] for name in before} == before
    assert ("GOMP_SPINCOUNT" in os.environ) == spins
    assert "OMP_WAIT_POLICY" in os.environ
