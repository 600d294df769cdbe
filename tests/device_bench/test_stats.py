import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench import stats
from device_bench.device import RunAggregate

latencies = st.lists(st.floats(min_value=1e-3, max_value=1e5), min_size=1, max_size=300)
processes = st.lists(latencies, min_size=1, max_size=6)


@given(processes)
def test_summary_is_ordered_and_counts_every_sample(samples):
    summary = stats.summarize(samples)
    rounding = 1e-9 * summary.max
    ordered = [summary.min, summary.p5, summary.median, summary.p90, summary.p95, summary.p99, summary.max]
    assert all(low <= high + rounding for low, high in itertools.pairwise(ordered))
    assert summary.min - rounding <= summary.mean <= summary.max + rounding
    assert summary.n == sum(summary.processes) == len(summary.samples)
    assert summary.processes == tuple(len(process) for process in samples)
    assert (summary.ci95 is None) == (len(samples) == 1)


@given(processes)
def test_interval_holds_the_median_and_is_repeatable(samples):
    low, high = stats.median_ci(samples)
    median = np.median([value for process in samples for value in process])
    assert 0 < low <= median <= high < np.inf
    assert stats.median_ci(samples) == (low, high)


@given(latencies)
def test_interval_of_one_process_lies_within_its_samples(samples):
    low, high = stats.median_ci([samples])
    assert min(samples) <= low <= high <= max(samples)


def test_interval_of_several_processes_is_students():
    logs = np.array([0.01, 0.03, 0.05])
    half = 4.302653 * 0.02 / np.sqrt(3)  # t at 2 degrees of freedom
    interval = stats.median_ci([[np.exp(log)] * 5 for log in logs])
    assert np.log(interval) == pytest.approx((0.03 - half, 0.03 + half), rel=1e-5)


@given(processes, st.floats(min_value=0.01, max_value=100))
def test_interval_scales_with_the_unit(samples, factor):
    low, high = stats.median_ci(samples)
    scaled = stats.median_ci([[value * factor for value in process] for process in samples])
    assert scaled == pytest.approx((low * factor, high * factor))


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize(("between", "within"), [(0.01, 0.02), (0.002, 0.02), (0.01, 0.005)])
def test_interval_covers_the_truth(count, between, within):
    """At least 93 of 100 intervals contain it, however few the processes; twelve samples in each."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        samples = 1 + between * rng.standard_normal((count, 1)) + within * rng.standard_normal((count, 12))
        low, high = stats.median_ci(samples.tolist())
        covered += low <= 1 <= high
    assert covered >= 930


def test_interval_knows_that_processes_differ():
    """Many samples of few processes that disagree say little."""
    agreeing = [[1.0, 1.01, 0.99] * 100] * 5
    disagreeing = [[value * level for value in agreeing[0]] for level in (0.9, 0.95, 1.0, 1.05, 1.1)]
    narrow, wide = stats.median_ci(agreeing), stats.median_ci(disagreeing)
    assert narrow[1] - narrow[0] < 0.02 < 0.1 < wide[1] - wide[0]


@given(st.lists(latencies, min_size=1, max_size=20), st.floats(min_value=0.1, max_value=10))
def test_paired_ratios_cancel_what_hits_both(blocks, factor):
    slower = [[value * factor for value in block] for block in blocks]
    assert stats.paired_ratios(blocks, slower) == pytest.approx([factor] * len(blocks))


ratios = st.lists(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=20), min_size=1, max_size=6)


@given(ratios, st.data())
def test_interval_of_a_ratio_holds_it_and_scales_with_it(candidate, data):
    again = [data.draw(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=20)) for _ in candidate]
    low, high = stats.ratio_ci(candidate, again)
    assert 0 < low <= stats.overall_ratio(candidate) * (1 + 1e-12) and stats.overall_ratio(candidate) <= high * (
        1 + 1e-12
    )
    assert stats.ratio_ci([[2 * r for r in p] for p in candidate], again) == pytest.approx((2 * low, 2 * high))


def test_interval_of_a_ratio_is_students():
    """Without anything from the copy, k processes that vary by s: t at 2k - 1 degrees of freedom times s / sqrt(k)."""
    logs = np.array([0.01, 0.03, 0.05])
    low, high = stats.ratio_ci([[r] for r in np.exp(logs)], [[1.0]] * 3)
    half = 2.570582 * 0.02 / np.sqrt(3)
    assert (np.log(low), np.log(high)) == pytest.approx((0.03 - half, 0.03 + half), rel=1e-5)
    half = 12.706205 * 0.002  # one process knows only how its two copies differ
    assert np.log(stats.ratio_ci([[np.exp(0.03)]], [[np.exp(0.002)]])) == pytest.approx((0.03 - half, 0.03 + half))


@pytest.mark.parametrize(
    ("ci95", "noise_floor", "expected"),
    [
        ((0.90, 0.95), 0.02, "faster"),
        ((0.90, 0.99), 0.02, "inconclusive"),
        ((0.99, 1.01), 0.0, "inconclusive"),
        ((1.05, 1.10), 0.02, "slower"),
        ((1.01, 1.10), 0.02, "inconclusive"),
        ((0.50, 2.00), 0.02, "inconclusive"),
        ((1.00, 1.00), 0.0, "inconclusive"),
    ],
)
def test_verdict(ci95, noise_floor, expected):
    assert stats.verdict(ci95, noise_floor) == expected


@given(st.floats(0.1, 10), st.floats(0, 5), st.floats(0, 1))
def test_verdict_turns_around_with_the_ratio(low, width, floor):
    turned = {"faster": "slower", "slower": "faster", "inconclusive": "inconclusive"}
    high = low + width
    mirrored = (2 - high, 2 - low)  # around 1
    if min(abs(low - 1 - floor), abs(high - 1 + floor)) > 1e-9:
        assert stats.verdict(mirrored, floor) == turned[stats.verdict((low, high), floor)]


def test_difference_interval_is_welchs():
    # scipy.stats.ttest_ind([5, 6, 7, 8], [1, 2, 4], equal_var=False).confidence_interval()
    assert stats.difference_ci([5, 6, 7, 8], [1, 2, 4]) == pytest.approx((1.1199352, 7.2133981))
    assert stats.difference_ci([5, 5], [3, 3]) == (2, 2)


@given(st.lists(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=8), min_size=1, max_size=6))
def test_pooled_runs_say_what_their_samples_would(runs):
    aggregates = [
        RunAggregate(n=len(run), mean=np.mean(run), min=min(run), max=max(run), std=np.std(run), median=np.median(run))
        for run in runs
    ]
    pooled, whole = stats.pool(aggregates), stats.summarize(runs)
    for name in ("n", "mean", "std", "min", "max"):
        assert getattr(pooled, name) == pytest.approx(getattr(whole, name), rel=1e-9, abs=1e-7)
    assert pooled.processes == whole.processes
    assert pooled.samples is None and pooled.p99 is None
    assert (pooled.ci95 is None) == (len(runs) == 1)
    assert min(map(np.median, runs)) <= pooled.median <= max(map(np.median, runs))


def test_runs_without_medians_have_none_pooled():
    run = RunAggregate(n=3, mean=2.0, min=1.0, max=3.0)
    assert (stats.pool([run, run]).median, stats.pool([run, run]).std) == (None, None)


def test_a_tool_of_whole_microseconds_is_never_certain():
    run = RunAggregate(n=9, mean=0.01, min=0.01, max=0.01, median=0.01)
    assert stats.pool([run, run]).ci95 == pytest.approx((0.0095, 0.0105))
