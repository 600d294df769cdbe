"""Whether `compare` says of a file that it differs from itself, and finds a difference that is there.

Latencies are simulated as measurements show them: each model of each process has a level of its own, around which its
rounds scatter. On a busy machine of two cores, a process's ratio of two copies of a network of 0.65 ms, its 50 rounds
behind it, was off by 1% (standard deviation).
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device_bench import stats

ROUNDS = 50
COMPARISONS = 1000


def called(
    rng: np.random.Generator,
    processes: int,
    between: float,
    within: float,
    ratio: float = 1.0,
    wilder: float = 1.0,
    comparisons: int = COMPARISONS,
) -> float:
    """Share of comparisons whose verdict is a difference.

    Args:
        between, within: standard deviations of a ratio of two copies, between processes and between rounds.
        ratio: the candidate's true one.
        wilder: how much further the candidate's levels scatter than the baseline's.
    """

    def latencies(level: float) -> NDArray[np.float64]:
        levels = level * between / np.sqrt(2) * rng.standard_normal((processes, 1))
        return np.exp(levels + within / np.sqrt(2) * rng.standard_normal((processes, ROUNDS)))

    count = 0
    for _ in range(comparisons):
        baseline, copy, candidate = latencies(1.0), latencies(1.0), ratio * latencies(wilder)
        again = (copy / baseline).tolist()
        interval = stats.ratio_ci((candidate / baseline).tolist(), again)
        count += stats.verdict(interval, abs(stats.overall_ratio(again) - 1)) != "inconclusive"
    return count / comparisons


SPREADS = [(0.005, 0.05), (0.01, 0.005), (0.003, 0.03), (0.003, 0.001), (0.03, 0.03)]


@pytest.mark.parametrize("processes", [2, 3, 5, 10])
@pytest.mark.parametrize(("between", "within"), SPREADS)
def test_a_file_differs_from_itself_in_at_most_one_of_twenty(processes: int, between: float, within: float) -> None:
    assert called(np.random.default_rng(0), processes, between, within) <= 0.05


@pytest.mark.parametrize(("between", "within"), SPREADS[:2])
def test_nor_does_it_in_a_single_process(between: float, within: float) -> None:
    # 5% is the truth where rounds hardly scatter, and three standard errors of 200 comparisons are as much again.
    assert called(np.random.default_rng(0), 1, between, within, comparisons=200) <= 0.1


def test_nor_does_a_file_whose_processes_scatter_more() -> None:
    shares = [called(np.random.default_rng(0), k, 0.006, 0.03, wilder=3.0) for k in (2, 3, 5, 10)]
    assert max(shares) <= 0.08


@pytest.mark.parametrize("ratio", [0.97, 1.03])
@pytest.mark.parametrize(("between", "within", "least"), [(0.003, 0.03, 0.99), (0.006, 0.03, 0.95), (0.01, 0.03, 0.75)])
def test_three_percent_are_found_in_three_processes(ratio: float, between: float, within: float, least: float) -> None:
    assert called(np.random.default_rng(0), 3, between, within, ratio) >= least


def test_five_processes_find_them_on_a_busy_machine() -> None:
    assert called(np.random.default_rng(0), 5, 0.005, 0.05, 1.03) >= 0.95
