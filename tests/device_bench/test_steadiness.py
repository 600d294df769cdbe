"""Samples made up to be steady or not; what the limits do on recorded ones is in docs/results/load_rejection.txt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import ModelRun
from device_bench.steadiness import MIN_WALL_S, densest_ms, rejections, two_levels

SIZES = [100, 380, 1500]
RUNS = range(20)


def run(*blocks_ms, wall_s: float | None = None) -> ModelRun:
    seconds = sum(map(sum, blocks_ms)) / 1e3
    return ModelRun(
        init_ms=1.0,
        first_ms=1.0,
        blocks=tuple(tuple(block) for block in blocks_ms),
        wall_s=wall_s or max(seconds, MIN_WALL_S),
        golden_error=None,
        delegate=None,
        missing={"delegate": "made up"},
    )


def noisy(levels, seed: int, spread: float = 0.02):
    """Samples at these levels, each off by some normal noise."""
    return levels * np.exp(spread * np.random.default_rng(seed).standard_normal(len(levels)))


def quiet(n: int, seed: int):
    """As recorded on a quiet machine: a narrow level, and a quarter of the runs 4 to 10% slower, some by much."""
    rng = np.random.default_rng(seed)
    tail = (rng.random(n) < 0.25) * (0.04 + 0.03 * rng.exponential(size=n)) + (rng.random(n) < 0.01) * 5
    return noisy(0.64 * (1 + tail), seed, 0.004)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("words", "levels"),
    [
        (["drifting"], lambda n: np.linspace(1, 1.075, n)),
        (["drifting"], lambda n: np.linspace(1.075, 1, n)),
        (["drifting", "bimodal"], lambda n: np.where(np.arange(n) < n / 2, 1.0, 1.1)),
        (["bimodal"], lambda n: np.where(np.arange(n) % 2, 1.0, 1.1)),
        (["bimodal"], lambda n: np.where(np.arange(n) % 20 < 9, 1.0, 1.1)),
    ],
    ids=["rise of 5%", "fall of 5%", "step of 10%", "two levels", "45% and 55%"],
)
def test_what_is_not_steady_is_nearly_always_seen(n, words, levels):
    found = [rejections(run(noisy(levels(n), seed, 0.01))) for seed in RUNS]
    for word in words:
        assert sum(any(reason.startswith(f"{word}: ") for reason in reasons) for reasons in found) >= 0.9 * len(RUNS)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "levels",
    [
        lambda n: np.ones(n),
        lambda n: np.linspace(1, 1.0075, n),
        lambda n: np.where(np.arange(n) % 2, 1.0, 1.02),
        lambda n: np.where(np.arange(n) % 10, 1.0, 2.0),
    ],
    ids=["noise", "rise of 0.5%", "two levels 2% apart", "every tenth run is interrupted"],
)
def test_what_moves_no_figure_is_left_alone(n, levels):
    assert [rejections(run(noisy(levels(n), seed))) for seed in RUNS] == [[]] * len(RUNS)


@pytest.mark.parametrize("n", SIZES)
def test_the_tail_of_a_quiet_machine_is_left_alone(n):
    assert [rejections(run(quiet(n, seed))) for seed in RUNS] == [[]] * len(RUNS)


@pytest.mark.parametrize("n", [380, 1500])
def test_more_than_half_of_the_runs_disturbed_without_a_second_level_is_seen(n):
    seen = 0
    for seed in RUNS:
        rng = np.random.default_rng(seed)
        disturbed = noisy(1 + (rng.random(n) < 0.75) * rng.uniform(0, 0.2, n), seed, 0.004)
        seen += any(reason.startswith("bimodal: the median is ") for reason in rejections(run(disturbed)))
    assert seen >= 0.9 * len(RUNS)


def test_the_reasons_give_the_change_and_the_levels():
    step = [1.0] * 200 + [1.1] * 200
    assert rejections(run(step)) == [
        "drifting: from the first to the last third the latency changed by +10% (at most 3%)",
        "bimodal: 50% of the runs keep another level, 1 and 1.1 ms",
    ]


positive = st.floats(1e-3, 1e4)


@given(st.lists(positive, min_size=1, max_size=5) | positive.map(lambda ms: [ms] * 400))
def test_few_or_equal_samples_say_nothing(samples_ms):
    assert rejections(run(samples_ms)) == []


@given(st.lists(positive, min_size=1, max_size=300), positive)
def test_any_samples_have_an_answer_that_does_not_depend_on_the_unit(samples_ms, unit):
    found = rejections(run(samples_ms))
    assert all(reason.startswith(("drifting: ", "bimodal: ")) for reason in found)
    assert len(found) == len(rejections(run([2 * ms for ms in samples_ms])))


@given(st.lists(positive, min_size=2, max_size=300))
def test_levels_lie_among_the_samples(samples_ms):
    ordered = np.sort(samples_ms)
    low, high, weight, _ = two_levels(ordered)
    slack = 1 + 1e-9
    assert ordered[0] / slack <= low <= high * slack <= ordered[-1] * slack**2
    assert 0 < weight <= 0.5
    assert ordered[0] <= densest_ms(ordered) <= ordered[-1]


def test_runs_in_turns_and_short_loops_are_left_alone():
    step = [1.0] * 200 + [1.1] * 200
    assert rejections(run(step[:200], step[200:])) == []
    assert rejections(run(step, wall_s=MIN_WALL_S / 2)) == []
