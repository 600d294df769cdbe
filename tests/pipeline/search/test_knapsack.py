"""The knapsack is solved exactly, and followed to a plan where costs are products and do not add up."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.search.knapsack import best_choice, importance_of, kept_importance, knapsack_plan
from tests.pipeline.search.toy import toy_subject

Options = list[list[tuple[float, int]]]
OPTION = st.tuples(st.floats(0.0, 10.0), st.integers(-5, 10))
PROBLEM = st.lists(st.lists(OPTION, min_size=1, max_size=4), min_size=1, max_size=4)


@given(problem=PROBLEM, budget=st.integers(-20, 40))
@settings(deadline=None)
def test_no_choice_within_the_budget_is_worth_more(problem: Options, budget: int) -> None:
    def sums(numbers: tuple[int, ...]) -> tuple[float, int]:
        picked = [options[number] for options, number in zip(problem, numbers, strict=True)]
        return sum(value for value, _ in picked), sum(cost for _, cost in picked)

    every = [sums(numbers) for numbers in itertools.product(*(range(len(options)) for options in problem))]
    affordable = [value for value, cost in every if cost <= budget]
    values, costs = [[v for v, _ in options] for options in problem], [[c for _, c in options] for options in problem]
    choice = best_choice(values, costs, budget)
    if choice is None:
        assert not affordable
    else:
        value, cost = sums(choice)
        assert cost <= budget and value == pytest.approx(max(affordable))


COUNTS = (2, 4, 6, 8)


@given(
    weights=st.lists(st.floats(0.1, 1.0), min_size=4, max_size=4),
    worth=st.lists(st.floats(0.1, 1.0), min_size=4, max_size=4),
    budget=st.floats(0.15, 0.9),
)
@settings(deadline=None, max_examples=10)
def test_a_chain_of_layers_is_brought_into_its_budget_and_near_the_best_plan(
    weights: list[float], worth: list[float], budget: float
) -> None:
    """A layer costs what it reads times what it writes; the best of all plans is found by trying them."""
    names = ("a", "b", "c", "d")
    values = {
        name: {count: float(np.sqrt(count / 8) * one) for count in COUNTS}
        for name, one in zip(names, worth, strict=True)
    }

    def cost(kept: Mapping[str, int]) -> float:
        shares = [1.0, *(kept[name] / 8 for name in names)]
        return sum(w * x * y for w, x, y in zip(weights, shares, shares[1:], strict=False)) / (budget * sum(weights))

    def total(kept: Mapping[str, int]) -> float:
        return sum(values[name][count] for name, count in kept.items())

    every = [dict(zip(names, counts, strict=True)) for counts in itertools.product(COUNTS, repeat=4)]
    affordable = [total(plan) for plan in every if cost(plan) <= 1.0]
    plan = knapsack_plan(values, cost)
    if affordable:
        assert cost(plan) <= 1.0
        assert total(plan) >= 0.9 * max(affordable)
    else:
        assert plan == dict.fromkeys(names, 2)


def test_importance_is_that_of_the_channels_that_stay() -> None:
    ranking, importance = {"a": np.array([3.0, 1.0, 2.0])}, {"a": np.array([10.0, 100.0, 1.0])}
    assert kept_importance({"a": (1, 2, 3)}, ranking, importance) == {"a": {1: 10.0, 2: 11.0, 3: 111.0}}


@pytest.mark.parametrize(("name", "comparable"), [("fisher", True), ("taylor", True), ("l1", False), ("l2", False)])
def test_losses_are_not_divided_by_their_mean(name: str, comparable: bool) -> None:
    scores = importance_of(toy_subject(("a", "b", "c"), 16), name)  # type: ignore[arg-type]
    means = np.array([values.mean() for values in scores.values()])
    assert np.allclose(means, 1.0) is not comparable
