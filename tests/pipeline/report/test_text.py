from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.text import DASH, duration, interval, number, one_line, percent, points, times

any_float = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize("show", [number, percent, times, duration])
def test_null_is_a_dash_and_never_a_zero(show) -> None:
    for value in (None, math.nan, math.inf, -math.inf):
        assert show(value) == DASH


@given(any_float)
def test_only_zero_is_shown_as_zero(value: float) -> None:
    shown = number(value)
    assert shown
    if math.isfinite(value) and value != 0:
        assert any(digit in shown for digit in "123456789")


@given(st.floats(min_value=1e-4, max_value=1e8))
def test_three_digits_are_kept(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=6e-3)


@given(any_float)
def test_everything_has_a_text(value: float) -> None:
    for show in (number, percent, times, duration):
        assert show(value).strip()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(0.08831), "0.0883"),
        (number(1525.3), "1,525"),
        (number(0.0), "0"),
        (number(-0.5), "\u22120.500"),
        (percent(0.9824), "98.2"),
        (percent(-0.0001), "0.0"),
        (points(0.0049), "0.5"),
        (interval((0.141, 0.144)), "0.141\u20130.144"),
        (interval((-1.4, 2.5)), "\u22121.40 to 2.50"),
        (interval(None), DASH),
        (times(4.531), "4.53\u00d7"),
        (duration(51.23), "51.2 s"),
        (duration(207.0), "3 min 27 s"),
        (duration(3725), "1 h 02 min"),
        (one_line("a\n  b\t c"), "a b c"),
        (one_line("x" * 300, 10), "x" * 9 + "\u2026"),
    ],
)
def test_examples(shown: str, expected: str) -> None:
    assert shown == expected
