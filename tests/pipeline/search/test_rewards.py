"""Equation 3, as the paper means it."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.search.rewards import equation_3, latency

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
