"""Intervals of accuracies against published examples, other implementations, and the truth of a simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipeline.intervals import paired_difference, wilson_interval

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


bits = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*[st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)] * 2)
)


@given(bits)
def test_paired_difference_is_agresti_and_mins(pair: tuple[list[float], list[float]]) -> None:
    a, b = np.array(pair[0]), np.array(pair[1])
    difference, (low, high) = paired_difference(a, b)
    # The paper's own form: half an image more in each of the four cells, then Wald.
    n12, n21 = float(((a == 1) & (b == 0)).sum()) + 0.5, float(((a == 0) & (b == 1)).sum()) + 0.5
    n = len(a) + 2
    half = 1.959964 * np.sqrt(n12 + n21 - (n12 - n21) ** 2 / n) / n
    assert difference == pytest.approx(a.mean() - b.mean())
    assert (low, high) == pytest.approx((max(-1, (n12 - n21) / n - half), min(1, (n12 - n21) / n + half)), abs=1e-6)
    mirrored = paired_difference(b, a)
    assert (mirrored[0], *mirrored[1]) == pytest.approx((-difference, -high, -low))


def test_equal_networks_still_have_an_interval() -> None:
    difference, (low, high) = paired_difference(np.ones(397), np.ones(397))
    assert difference == 0 and low < 0 < high < 0.01


def test_paired_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = 0.08 - 0.05
    covered = 0
    for _ in range(500):
        table = rng.choice(4, size=400, p=[0.85, 0.08, 0.05, 0.02])  # both right, a alone, b alone, none
        low, high = paired_difference(np.isin(table, [0, 1]) * 1.0, np.isin(table, [0, 2]) * 1.0)[1]
        covered += low <= truth <= high
    assert 0.92 < covered / 500 < 0.98


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((0,), (0,)), ((2, 2), (2, 2))])
def test_pairs_must_match(shapes: Any) -> None:
    with pytest.raises(ValueError, match="one value per image"):
        paired_difference(np.zeros(shapes[0]), np.zeros(shapes[1]))
