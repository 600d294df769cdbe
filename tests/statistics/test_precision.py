"""Whether intervals keep their promise although processes are added until they are narrow.

Whoever looks after each process and stops where the interval is narrow enough stops more often where it is so by luck,
and such an interval misses the truth more often (Chow and Robbins, "On the asymptotic theory of fixed-width sequential
confidence intervals for the mean", 1965: only for ever narrower ones is that lost). How much, a simulation tells.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device_bench import stats
from device_bench.device import JobResult, ModelRun
from device_bench.judge import Subject
from device_bench.records import ArtifactInfo, BenchSpec, RuntimeInfo
from device_bench.sitting import Sitting, turn_ratios

SITTINGS = 500
FINAL = BenchSpec(processes=5, precision=0.01)
COMPARE = BenchSpec(processes=3, precision=0.01)
SEARCH = BenchSpec(processes=2, precision=0.03, max_processes=8)


def job_result(latencies_ms: NDArray[np.float64]) -> JobResult:
    """One process with models of these latencies, of one timed run each."""
    return JobResult(
        runtime=RuntimeInfo(name="litert", version="0", runner="simulated"),
        models=tuple(
            ModelRun(
                init_ms=1.0,
                first_ms=1.0,
                blocks=((ms,),),
                wall_s=1.0,
                golden_error=None,
                delegate=None,
                missing={"delegate": "simulated"},
            )
            for ms in latencies_ms.tolist()
        ),
        memory=None,
        thermal=None,
        missing={"memory": "simulated", "thermal": "simulated"},
    )


def subjects(count: int) -> list[Subject]:
    artifact = ArtifactInfo(path="m", sha256="0", format="tflite", precision=None, size_bytes=1)
    return [Subject(artifact=artifact, golden=None)] * count


def simulated(spec: BenchSpec, models: int, between: float) -> tuple[float, float]:
    """Share of intervals that hold the true value, 1, and the mean number of processes.

    Args:
        models: 1 for a median; 2 for the ratio of a candidate to the baseline, which is loaded twice.
        between: standard deviation of that figure between processes.
    """
    rng = np.random.default_rng(0)
    held, processes = 0, 0
    for _ in range(SITTINGS):
        sitting = Sitting(spec, subjects(models))
        while not sitting.is_over:
            levels = rng.standard_normal(1 if models == 1 else models + 1)
            sitting.take(job_result(np.exp(between / np.sqrt(models) * levels)), "")
        if models == 1:
            low, high = stats.median_ci([result.models[0].blocks[0] for result in sitting.results])
        else:
            low, high = stats.ratio_ci(turn_ratios(sitting.results, 1), turn_ratios(sitting.results, models))
        held += low <= 1 <= high
        processes += sitting.count
    return held / SITTINGS, processes / SITTINGS


@pytest.mark.parametrize("between", [0.003, 0.015])
def test_medians_hold_in_at_least_nine_of_ten(between: float) -> None:
    assert simulated(FINAL, 1, between)[0] >= 0.90


@pytest.mark.parametrize(("spec", "between"), [(COMPARE, 0.003), (COMPARE, 0.015), (SEARCH, 0.003), (SEARCH, 0.03)])
def test_ratios_hold_in_at_least_92_of_100(spec: BenchSpec, between: float) -> None:
    assert simulated(spec, 2, between)[0] >= 0.92


def test_a_quiet_device_takes_few_processes_and_a_noisy_one_more() -> None:
    counts = [simulated(SEARCH, 2, between)[1] for between in (0.003, 0.02, 0.1)]
    assert counts[0] < 2.1 and 3 < counts[1] < 5 and counts[2] > 7.9
