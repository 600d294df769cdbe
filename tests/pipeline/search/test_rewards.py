"""The rewards, as the papers mean them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.search import rewards
from pipeline.search.cost import AIM, CostAnswer
from pipeline.search.rewards import amc, amc_flops, equation_3, equation_4, equation_5, make_reward
from pipeline.search_section import RewardSection


def latency(
    accuracy: float, ratio: float, *, accuracy_target: float, latency_target: float, scale: float = 1.0
) -> float:
    """Equation 3 in its latency form."""
    targets = {"accuracy_target": accuracy_target, "saved_target": 1 - latency_target}
    return equation_3(accuracy, 1 - ratio, scale=scale, **targets)


share = st.floats(0.0, 1.0)
target = st.floats(0.05, 1.0)


@given(accuracy=share, saved=share, accuracy_target=target, saved_target=target, scale=st.floats(0.1, 10))
def test_never_positive_and_zero_exactly_where_both_targets_are_met(
    accuracy: float, saved: float, accuracy_target: float, saved_target: float, scale: float
) -> None:
    reward = equation_3(accuracy, saved, accuracy_target=accuracy_target, saved_target=saved_target, scale=scale)
    assert reward <= 0
    assert (reward == 0) == (accuracy >= accuracy_target and saved >= saved_target) or abs(reward) < 1e-12


@given(low=share, high=share, saved=share)
def test_rises_with_accuracy_and_with_speed(low: float, high: float, saved: float) -> None:
    low, high = sorted((low, high))

    def of_accuracy(value: float) -> float:
        return equation_3(value, saved, accuracy_target=0.9, saved_target=0.7, scale=1.0)

    def of_latency(ratio: float) -> float:
        return latency(0.8, ratio, accuracy_target=0.9, latency_target=0.3, scale=1.0)

    assert of_accuracy(low) <= of_accuracy(high)
    assert of_latency(high) <= of_latency(low)


def test_both_terms_weigh_the_same() -> None:
    """Missing either target by half costs the same (PuRL 3.2.3: "equal weighting")."""
    half_accuracy = latency(0.45, 0.2, accuracy_target=0.9, latency_target=0.2, scale=2.0)
    half_latency = latency(0.9, 0.6, accuracy_target=0.9, latency_target=0.2, scale=2.0)
    assert half_accuracy == -1.0
    assert abs(half_latency - half_accuracy) < 1e-12


def with_energy(latency_ratio: float, energy_ratio: float, share_of_energy: float, accuracy: float = 0.8) -> float:
    return rewards.with_energy(
        accuracy,
        1 - latency_ratio,
        1 - energy_ratio,
        accuracy_target=0.9,
        saved_target=1 - 0.3,
        energy_target=1 - 0.5,
        energy_share=share_of_energy,
        scale=1.0,
    )


@given(latency_ratio=share, low=share, high=share, weight=share, accuracy=share)
def test_rises_as_energy_or_latency_falls(
    latency_ratio: float, low: float, high: float, weight: float, accuracy: float
) -> None:
    low, high = sorted((low, high))
    assert with_energy(latency_ratio, high, weight, accuracy) <= with_energy(latency_ratio, low, weight, accuracy)
    assert with_energy(high, latency_ratio, weight, accuracy) <= with_energy(low, latency_ratio, weight, accuracy)


@given(latency_ratio=share, energy_ratio=share, accuracy=share)
def test_a_cost_without_a_share_does_not_count(latency_ratio: float, energy_ratio: float, accuracy: float) -> None:
    alone = latency(accuracy, latency_ratio, accuracy_target=0.9, latency_target=0.3, scale=1.0)
    assert with_energy(latency_ratio, energy_ratio, 0.0, accuracy) == alone
    alone = latency(accuracy, energy_ratio, accuracy_target=0.9, latency_target=0.5, scale=1.0)
    assert with_energy(latency_ratio, energy_ratio, 1.0, accuracy) == alone


@given(latency_ratio=share, energy_ratio=share, weight=st.floats(0.01, 0.99), accuracy=share)
def test_zero_exactly_where_all_three_targets_are_met(
    latency_ratio: float, energy_ratio: float, weight: float, accuracy: float
) -> None:
    reward = with_energy(latency_ratio, energy_ratio, weight, accuracy)
    met = accuracy >= 0.9 and latency_ratio <= 0.3 and energy_ratio <= 0.5
    assert reward <= 0 and ((reward == 0) == met or abs(reward) < 1e-12)


@given(weight=share)
def test_both_costs_together_weigh_what_accuracy_does(weight: float) -> None:
    half_missed = with_energy(0.65, 0.75, weight, accuracy=0.9)  # 1 - P/T_P is a half for each
    assert abs(half_missed - with_energy(0.3, 0.5, weight, accuracy=0.45)) < 1e-12


@given(low=share, high=share, saved=share)
def test_rewards_2_and_3_rise_with_accuracy_beyond_the_target_as_well(low: float, high: float, saved: float) -> None:
    """The text of PuRL 4.1.3; printed, the sign of the accuracy term is the other way round."""
    low, high = sorted((low, high))
    targets = {"accuracy_target": 0.6, "saved_target": 0.7, "scale": 1.0}
    for equation in (equation_4, equation_5):
        assert equation(low, saved, **targets) <= equation(high, saved, **targets)
        assert equation(0.9, 0.7, **targets) > equation(0.6, 0.7, **targets) == 0.0


@given(accuracy=st.floats(0.65, 1.0))
def test_reward_3_pays_more_than_reward_2_for_what_surpasses_the_target(accuracy: float) -> None:
    targets = {"accuracy_target": 0.6, "saved_target": 0.7, "scale": 1.0}
    assert equation_5(accuracy, 0.7, **targets) > equation_4(accuracy, 0.7, **targets) > 0.0


def test_amc_pays_accuracy_or_error_times_the_logarithm_of_the_flops() -> None:
    assert amc(0.7, scale=2.0) == 1.4
    assert amc_flops(0.7, math.e**2, scale=1.0) == pytest.approx(-0.6)
    assert amc_flops(0.7, 1e6, scale=1.0) > amc_flops(0.7, 1e7, scale=1.0) > amc_flops(0.6, 1e7, scale=1.0)


@pytest.mark.parametrize("name", ["equation_4", "equation_5", "amc", "amc_flops", None])
def test_the_configured_reward_is_paid(name: str | None) -> None:
    cost = CostAnswer(cost="macs", ratio=0.3, target_ratio=0.5)
    paid = make_reward(RewardSection(name=name, scale=2.0), 0.8)(0.9, cost, 1e6)  # type: ignore[arg-type]
    terms = {"accuracy_target": 0.8, "saved_target": 0.5, "scale": 2.0}
    expected = {
        None: equation_3(0.9, 0.7, **terms),
        "equation_4": equation_4(0.9, 0.7, **terms),
        "equation_5": equation_5(0.9, 0.7, **terms),
        "amc": amc(0.9, scale=2.0),
        "amc_flops": amc_flops(0.9, 1e6, scale=2.0),
    }
    assert paid == expected[name]


def test_what_is_measured_is_aimed_at_below_the_target_and_what_is_counted_is_not() -> None:
    reward = make_reward(RewardSection(), 0.8)
    at_target = {cost: CostAnswer(cost=cost, ratio=0.5, target_ratio=0.5) for cost in ("latency", "macs", "sparsity")}
    assert reward(0.8, at_target["macs"], 1.0) == reward(0.8, at_target["sparsity"], 1.0) == 0.0
    assert reward(0.8, at_target["latency"], 1.0) < 0.0
    assert reward(0.8, CostAnswer(ratio=0.5 * AIM, target_ratio=0.5), 1.0) == 0.0
