"""A batch is interrupted where that does no harm."""

from concurrent.futures import Future

import pytest

from sr_cli.upscaling.batch.interruption import Interruption


def test_a_signal_raises_only_while_a_network_computes():
    interruption, made = Interruption(), []

    def strips():
        made.append(1)
        yield "strip"
        interruption.want()
        made.append(2)  # never

    found = interruption.each(strips())
    assert next(found) == "strip"
    with pytest.raises(KeyboardInterrupt):
        next(found)
    assert made == [1]


def test_elsewhere_it_is_raised_by_the_next_look():
    for look in (
        Interruption.check, lambda each: each.wait_for(Future()), lambda each: each.compute(lambda: None)
    ):  # fmt: skip
        interruption = Interruption()
        interruption.want()
        with pytest.raises(KeyboardInterrupt):
            look(interruption)
