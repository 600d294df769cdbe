"""Explanations add up to the policy's decision; stability is what its words say."""

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.search.actions import WeightShares
from pipeline.search.explain import explain, importance, stability

WEIGHTS = {"effective_rank": 2.0, "rest": -3.0, "is_fc": 0.0}
STATES = np.array([[0.0, 1.0, 0.0], [1.0, 0.5, 0.0], [0.5, 0.0, 1.0]], dtype=np.float32)


def sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


@given(
    arrays(np.float32, (4, 3), elements=st.floats(0, 1, width=32)),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    st.floats(-5, 5),
)
def test_contributions_add_up_to_what_the_policy_asked_for(
    states: np.ndarray, slopes: list[float], bias: float
) -> None:
    weights = dict(zip(WEIGHTS, slopes, strict=True))
    explained = explain("abcd", states, [0.5] * 4, weights, bias)
    for row, one in zip(states.astype(float), explained, strict=True):
        assert one.asked == pytest.approx(sigmoid(bias + float(row @ slopes)))
        logit = math.log(one.usual / (1 - one.usual)) + sum(one.contributions.values())
        assert sigmoid(logit) == pytest.approx(one.asked)
    total = np.array([list(one.contributions.values()) for one in explained]).sum(axis=0)
    np.testing.assert_allclose(total, 0.0, atol=1e-9)


def test_words_name_who_asked_for_what() -> None:
    first, second, third = (
        one.text for one in explain(["a", "b", "c"], STATES, [0.4, sigmoid(0.5), 1.0], WEIGHTS, 0.0)
    )
    assert first == (
        "pruned to 40% (the policy asked for 5%): work still to come and effective rank asked for more pruning"
    )
    assert second == "pruned to 62%: effective rank asked for less pruning"
    assert third == "kept whole (the policy asked for 73%): work still to come asked for less pruning"


@pytest.mark.parametrize(
    ("threshold", "highest", "asked"), [("sigma", 2.2, "alpha 0.83"), ("share", 0.9, "66%")], ids=["sigma", "share"]
)
def test_where_weights_are_pruned_the_policy_asked_for_an_amount(
    threshold: Literal["sigma", "share"], highest: float, asked: str
) -> None:
    """An action is no share to keep there, but what is left to the highest amount."""
    actions = WeightShares(highest, threshold)
    _, second, _ = explain(["a", "b", "c"], STATES, [0.4, 0.45, 1.0], WEIGHTS, 0.0, actions.in_words)
    assert second.asked == pytest.approx(sigmoid(0.5))
    assert second.text.startswith(f"pruned to 45% (the policy asked for {asked}): ")


def test_a_policy_without_weights_treats_all_alike_and_says_so() -> None:
    (one, *_) = explain("abc", STATES, [0.5] * 3, dict.fromkeys(WEIGHTS, 0.0), 0.0)
    assert one.text == "pruned to 50%: like the average one, no feature asked for anything else"


def test_importance_is_weight_times_spread() -> None:
    values = importance(STATES, WEIGHTS)
    spread = STATES.std(axis=0)
    assert values == pytest.approx({"effective_rank": 2 * spread[0], "rest": 3 * spread[1], "is_fc": 0.0})


def test_the_same_importance_is_stable_and_a_disjoint_one_is_not() -> None:
    same = stability([{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 6.0}])
    assert same is not None and (same.successive, same.overall, same.features) == (1.0, 1.0, 2.0)
    apart = stability([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}])
    assert apart is not None and (apart.successive, apart.overall, apart.features) == (0.0, 0.0, 1.0)


def test_a_slow_drift_is_stable_from_one_to_the_next_and_not_overall() -> None:
    drift = stability([{"a": 1.0 - share, "b": share} for share in np.linspace(0, 1, 11)])
    assert drift is not None and drift.successive == pytest.approx(0.9) and drift.overall < 0.7


def test_what_has_no_importance_is_left_out() -> None:
    nothing, something = {"a": 0.0}, {"a": 1.0}
    assert stability([nothing, something]) is None
    left = stability([nothing, something, nothing, something])
    assert left is not None and left.successive == 1.0


@given(st.lists(st.lists(st.floats(0, 10), min_size=3, max_size=3), max_size=8))
def test_stability_is_a_share_and_blind_to_scale(rows: list[list[float]]) -> None:
    importances = [dict(zip("abc", row, strict=True)) for row in rows]
    found = stability(importances)
    scaled = stability([{name: 2.0 * value for name, value in one.items()} for one in importances])
    assert (found is None) == (scaled is None)
    if found is not None and scaled is not None:
        assert 0.0 <= found.overall <= 1.0 + 1e-9 and 0.0 <= found.successive <= 1.0 + 1e-9
        assert found.overall == pytest.approx(scaled.overall)
