"""Statistics of latency samples; pure functions, deterministic (the bootstrap's seed is fixed).

Samples of one process are not independent: a process gets its memory layout and its clock once. So intervals are
bootstrapped over processes first, and the few processes are made up for as Hesterberg, "What Teachers Should Know
About the Bootstrap" (2015), section 5.2, does ("expanded percentile interval").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from device_bench.records import LatencyStats, Verdict

RESAMPLES = 2000
MAX_VALUES = 200
"""Values of a group that the bootstrap looks at: evenly spaced quantiles beyond that, to bound its cost."""

Floats = NDArray[np.float64]


def summarize(processes: Sequence[Sequence[float]]) -> LatencyStats:
    """Summary of latency samples in ms, one sequence per process, none of them empty."""
    samples = np.concatenate([np.asarray(process, dtype=np.float64) for process in processes])
    p5, median, p90, p95, p99 = (float(value) for value in np.percentile(samples, [5, 50, 90, 95, 99]))
    return LatencyStats(
        median=median,
        mean=float(samples.mean()),
        std=float(samples.std()),
        min=float(samples.min()),
        max=float(samples.max()),
        p5=p5,
        p90=p90,
        p95=p95,
        p99=p99,
        n=samples.size,
        ci95=median_ci(processes) if len(processes) > 1 else None,
        samples=tuple(samples.tolist()),
        processes=tuple(len(process) for process in processes),
    )


def median_ci(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95% interval of the median of all values, by a bootstrap over groups and over the values in each.

    With a single group only its values are drawn, and nothing is said about the spread between groups.
    """
    columns = [_thinned(group) for group in groups]
    rng = np.random.default_rng(0)
    drawn: list[Floats] = []
    for _ in range(RESAMPLES if len(columns) > 1 or columns[0].size > 1 else 1):
        picked = [columns[i] for i in rng.integers(0, len(columns), len(columns))]
        values = [column[rng.integers(0, column.size, column.size)] for column in picked]
        drawn.append(np.median(np.concatenate(values)))
    n = len(columns) if len(columns) > 1 else columns[0].size
    low, high = np.percentile(drawn, _percentiles(n))
    return float(low), float(high)


def _thinned(values: Sequence[float]) -> Floats:
    column = np.sort(np.asarray(values, dtype=np.float64))
    if column.size <= MAX_VALUES:
        return column
    return column[np.linspace(0, column.size - 1, MAX_VALUES).round().astype(int)]


def _percentiles(n: int) -> tuple[float, float]:
    """Percentiles of the resamples that make a 95% interval of n independent things: 2.5 and 97.5 for many."""
    from scipy.special import ndtr, stdtrit  # here, since importing scipy takes a moment

    if n < 2:
        return 0.0, 100.0
    tail = 100 * float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.025)))
    return tail, 100 - tail


def paired_ratios(baseline: Sequence[Sequence[float]], candidate: Sequence[Sequence[float]]) -> list[float]:
    """Candidate over baseline, from the medians of the turns that were taken in the same round."""
    return [float(np.median(theirs) / np.median(ours)) for ours, theirs in zip(baseline, candidate, strict=True)]


def difference_ci(high: Sequence[float], low: Sequence[float]) -> tuple[float, float]:
    """95% interval of mean(high) - mean(low), by Welch's t."""
    from scipy.special import stdtrit

    a, b = np.asarray(high), np.asarray(low)
    va, vb = a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    difference = float(a.mean() - b.mean())
    if va + vb == 0:
        return difference, difference
    freedom = (va + vb) ** 2 / (va**2 / (a.size - 1) + vb**2 / (b.size - 1))
    half = float(stdtrit(freedom, 0.975) * np.sqrt(va + vb))
    return difference - half, difference + half


def verdict(ci95: tuple[float, float], noise_floor: float) -> Verdict:
    """Faster or slower only where the whole interval of the ratio lies outside 1 +- noise_floor."""
    if ci95[1] < 1 - noise_floor:
        return "faster"
    if ci95[0] > 1 + noise_floor:
        return "slower"
    return "inconclusive"
