"""Whether two copies of a file stay below the noise floor that earlier sittings gave, as often as it promises.

Latencies are simulated as measurements show them: each copy has a level of its own in a sitting and in each process,
around which its rounds scatter.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device_bench import stats
from device_bench.device import Missing
from device_bench.noise import floor_of_sittings
from device_bench.noise_store import SelfComparison, Timing
from device_bench.records import BenchSpec, NoiseFloor, RuntimeInfo

ROUNDS = 50
Rounds = NDArray[np.float64]

# Standard deviations of a ratio of two copies: between sittings, between processes, between rounds.
SPREADS = [(0.0, 0.005, 0.05), (0.0, 0.01, 0.005), (0.002, 0.003, 0.03), (0.01, 0.005, 0.01), (0.0, 0.0, 0.03)]


def compared(rng: np.random.Generator, spread: tuple[float, float, float], processes: int) -> tuple[Rounds, Rounds]:
    """Ratios of a baseline's copy and of a candidate like it, round by round of each process of one sitting."""
    sitting, process, within = (deviation / np.sqrt(2) for deviation in spread)
    levels = sitting * rng.standard_normal((3, 1, 1)) + process * rng.standard_normal((3, processes, 1))
    baseline, copy, candidate = np.exp(levels + within * rng.standard_normal((3, processes, ROUNDS)))
    return copy / baseline, candidate / baseline


def learned(rng: np.random.Generator, spread: tuple[float, float, float], sittings: int, processes: int) -> NoiseFloor:
    """From earlier sittings of three processes each."""
    seen = [
        SelfComparison(
            device_id="d",
            runtime=RuntimeInfo(name="litert", version="1", runner="r"),
            timing=Timing.of(BenchSpec()),
            model_sha256="a",
            median_ms=1.0,
            log_ratios=tuple(np.log(np.median(compared(rng, spread, 3)[0], axis=1)).tolist()),
            started_at="2026-11-21",
        )
        for _ in range(sittings)
    ]
    known = floor_of_sittings(seen, processes)
    assert not isinstance(known, Missing)
    return known


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(("sittings", "least"), [(50, 0.94), (5, 0.91)])
def test_copies_stay_below_the_floor(
    processes: int, spread: tuple[float, float, float], sittings: int, least: float
) -> None:
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(30):
        known = learned(rng, spread, sittings, processes)
        for _ in range(30):
            copies, _ = compared(rng, spread, processes)
            below += abs(stats.overall_ratio(copies.tolist()) - 1) <= known.floor
    assert below / 900 >= least


@pytest.mark.parametrize("spread", SPREADS)
def test_the_floor_is_not_idle_caution(spread: tuple[float, float, float]) -> None:
    """It is at most a third above what 95% of comparisons stay below."""
    rng = np.random.default_rng(1)
    known = learned(rng, spread, 200, 3)
    shown = [abs(stats.overall_ratio(compared(rng, spread, 3)[0].tolist()) - 1) for _ in range(2000)]
    assert known.floor <= 1.33 * np.quantile(shown, 0.95)


@pytest.mark.parametrize("processes", [2, 3, 5, 10])
@pytest.mark.parametrize("spread", SPREADS)
def test_the_verdict_finds_what_is_said_to_be_visible(processes: int, spread: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(2)
    known = learned(rng, spread, 200, processes)
    found = 0
    for _ in range(500):
        copies, candidates = compared(rng, spread, processes)
        again, slower = copies.tolist(), ((1 + known.visible) * candidates).tolist()
        said = stats.verdict(stats.ratio_ci(slower, again), abs(stats.overall_ratio(again) - 1))
        found += said == "slower"
    assert 0.86 <= found / 500 <= 0.97
