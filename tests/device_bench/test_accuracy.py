"""Two files' accuracies on the same images, against published forms, other implementations and a simulation's truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from device_bench.accuracy import accuracy_difference, mcnemar_p, paired_difference
from device_bench.device import Missing
from device_bench.records import AccuracyDifference
from device_bench.sidecar import Answers, SidecarAccuracy

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


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(only_a, only_b) == mcnemar_p(only_b, only_a)


def said(right: list[bool], images: str = "a" * 64) -> SidecarAccuracy:
    answers = Answers.from_array(images, np.array(right))
    return SidecarAccuracy(top1=float(np.mean(right)), top5=None, n=len(right), split="test", answers=answers)


@given(st.integers(1, 80).flatmap(lambda n: st.tuples(*[st.lists(st.booleans(), min_size=n, max_size=n)] * 2)))
def test_a_difference_is_that_of_the_two_accuracies(pair: tuple[list[bool], list[bool]]) -> None:
    baseline, candidate = said(pair[0]), said(pair[1])
    found = accuracy_difference(baseline, candidate)
    assert isinstance(found, AccuracyDifference)
    assert (found.baseline_top1, found.candidate_top1, found.n) == (baseline.top1, candidate.top1, len(pair[0]))
    assert found.difference == pytest.approx(candidate.top1 - baseline.top1)
    assert (found.discordant[1] - found.discordant[0]) / found.n == pytest.approx(found.difference)
    turned = accuracy_difference(candidate, baseline)
    assert isinstance(turned, AccuracyDifference)
    assert turned.discordant == found.discordant[::-1] and turned.p_value == found.p_value


@pytest.mark.parametrize(
    ("only_baseline", "only_candidate", "verdict"),
    [(0, 0, "inconclusive"), (5, 0, "inconclusive"), (6, 0, "lost"), (0, 6, "gained"), (40, 60, "inconclusive")],
)
def test_the_verdict_is_mcnemars(only_baseline: int, only_candidate: int, verdict: str) -> None:
    both = [True] * 300
    found = accuracy_difference(
        said(both + [True] * only_baseline + [False] * only_candidate),
        said(both + [False] * only_baseline + [True] * only_candidate),
    )
    assert isinstance(found, AccuracyDifference)
    assert (found.discordant, found.verdict) == ((only_baseline, only_candidate), verdict)


NO_BITS = SidecarAccuracy(top1=0.5, top5=None, n=4, split="test")
SOME = said([True, False])


@pytest.mark.parametrize(
    ("baseline", "candidate", "reason"),
    [
        (None, SOME, "the baseline has no sidecar"),
        (SOME, None, "the candidate has no sidecar"),
        (NO_BITS, SOME, "the baseline's sidecar does not say which images"),
        (SOME, NO_BITS, "the candidate's sidecar does not say which images"),
        (SOME, said([True, False], "b" * 64), "not evaluated on the same images .2 of test, aaaaaaaa; 2 of test, bbbb"),
    ],
)
def test_what_cannot_be_paired_has_a_reason(baseline: Any, candidate: Any, reason: str) -> None:
    found = accuracy_difference(baseline, candidate)
    assert isinstance(found, Missing)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.reason)
