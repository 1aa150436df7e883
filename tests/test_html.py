"""Parts of pages in one file: axes, data URLs, templates."""

import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from sr_cli.html import Axis, data_url, template


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.booleans())
def test_every_value_lies_on_its_axis(values, logarithmic):
    axis = Axis.over(values, logarithmic=logarithmic)
    if axis is None:
        assert logarithmic and max(values) <= 0
        return
    positions = [axis.position(value) for value in values]
    assert all(position is None or 0 <= position <= 1 for position in positions)
    assert axis.position(axis.low) == 0
    shown = [(value, position) for value, position in zip(values, positions, strict=True) if position is not None]
    assert [position for _, position in sorted(shown)] == sorted(position for _, position in shown)


def test_what_cannot_be_drawn_has_no_position():
    assert Axis.over([math.nan, math.inf]) is None
    axis = Axis.over([1.0, 100.0, 0.0, math.inf], logarithmic=True)
    assert (axis.low, axis.high, axis.position(10.0)) == (1, 100, pytest.approx(0.5))
    assert axis.position(0.0) is axis.position(math.inf) is axis.position(None) is None
    assert Axis.over([3.0]).position(3.0) == 0


def test_a_data_url_holds_the_file():
    kind, _, content = data_url(b"\x00\xff", "image/png").partition(",")
    assert (kind, base64.b64decode(content)) == ("data:image/png;base64", b"\x00\xff")


def test_a_template_misses_nothing_silently():
    with pytest.raises(UndefinedError):
        template("sr_cli.evaluation.report", "page.html").render()
