"""Intervals of accuracies against a published example and another implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipeline.intervals import wilson_interval

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_agrees_with_the_published_example() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@given(counts)
def test_wilson_agrees_with_scipy(count: tuple[int, int]) -> None:
    k, n = count
    expected = binomtest(k, n).proportion_ci(0.95, "wilson")
    assert wilson_interval(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(counts)
def test_wilson_holds_its_share_within_0_and_1(count: tuple[int, int]) -> None:
    share = count[0] / count[1]
    low, high = wilson_interval(share, count[1])
    assert 0 <= low <= share <= high <= 1 and low < high


@given(counts)
def test_wilson_is_symmetric_and_narrows(count: tuple[int, int]) -> None:
    share, n = count[0] / count[1], count[1]
    low, high = wilson_interval(share, n)
    mirrored = wilson_interval(1 - share, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)
    four_times = wilson_interval(share, 4 * n)
    assert four_times[1] - four_times[0] < high - low


def test_no_images_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one"):
        wilson_interval(0.5, 0)
