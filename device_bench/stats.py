"""Statistics of latency samples; pure functions, deterministic (the bootstrap's seed is fixed).

Samples of one process are not independent: a process gets its memory layout and its clock once. So intervals are
Student's over processes. One process has only its samples to tell from: they are bootstrapped, and that they are few is
made up for as Hesterberg, "What Teachers Should Know About the Bootstrap" (2015), section 5.2, does ("expanded
percentile interval").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from device_bench.device import ModelRun, RunAggregate
from device_bench.records import LatencyStats, Verdict

RESAMPLES = 2000
MAX_VALUES = 1000
"""What the bootstrap draws at a time, to bound its cost; drawing fewer only widens an interval."""

RESOLUTION_MS = 0.001
"""Of what benchmark_model prints."""

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


def pool(runs: Sequence[RunAggregate]) -> LatencyStats:
    """Summary of the runs of a tool that gives no samples: count, mean, spread and extremes exactly as if it had.

    Percentiles of several runs cannot be had from each run's, so the median is the median of the runs' medians, and
    the others are known for a single run only. Each run was a process of its own. The tool prints whole microseconds,
    so that equal medians do not mean a certain one: the interval reaches half of one further on both sides.
    """
    counts = np.array([run.n for run in runs], dtype=np.float64)
    means = np.array([run.mean for run in runs])
    mean = float((counts * means).sum() / counts.sum())
    deviations = [run.std for run in runs if run.std is not None]
    std = None
    if len(deviations) == len(runs):
        std = float(np.sqrt((counts * (np.square(deviations) + np.square(means - mean))).sum() / counts.sum()))
    medians = [run.median for run in runs if run.median is not None]
    only = runs[0] if len(runs) == 1 else None
    ci95 = None
    if only is None and len(medians) == len(runs):
        low, high = median_ci([[median] for median in medians])
        ci95 = (low - RESOLUTION_MS / 2, high + RESOLUTION_MS / 2)
    return LatencyStats(
        median=float(np.median(medians)) if len(medians) == len(runs) else None,
        mean=mean,
        std=std,
        min=min(run.min for run in runs),
        max=max(run.max for run in runs),
        p5=only.p5 if only else None,
        p90=None,
        p95=only.p95 if only else None,
        p99=None,
        n=int(counts.sum()),
        ci95=ci95,
        samples=None,
        processes=tuple(run.n for run in runs),
    )


def latency_of(models: Sequence[ModelRun]) -> LatencyStats:
    """What one model did in some processes, by its samples, or by what a tool without samples says about its runs."""
    aggregates = [run for model in models for run in model.aggregates or ()]
    if aggregates:
        return pool(aggregates)
    return summarize([[ms for block in model.blocks for ms in block] for model in models])


def median_ci(processes: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95% interval of the median of all values, by Student's t over the logarithms of the processes' own medians.

    A bootstrap over k processes never looks beyond the furthest of them, so that at best its interval covers the truth
    with 1 - 2**(1 - k): of two processes in half of all cases, of three in three quarters (simulated: 50% and 75%).

    Of a single process only its values are drawn, and nothing is said about the spread between processes.
    """
    from scipy.special import stdtrit  # here, since importing scipy takes a moment

    if len(processes) == 1:
        return _bootstrapped(processes[0])
    logs = np.log([np.median(process) for process in processes])
    half = float(stdtrit(logs.size - 1, 0.975) * logs.std(ddof=1) / np.sqrt(logs.size))
    # A median, and the interval is around a mean.
    median = float(np.median(np.concatenate([np.asarray(process) for process in processes])))
    return min(float(np.exp(logs.mean() - half)), median), max(float(np.exp(logs.mean() + half)), median)


def relative_half_width(ci95: tuple[float, float], value: float) -> float:
    """Half of an interval's width, as a share of the value that it is of."""
    return (ci95[1] - ci95[0]) / 2 / value


def _bootstrapped(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the median, as if all values were independent."""
    column = _thinned(values, MAX_VALUES)
    picked = np.random.default_rng(0).integers(0, column.size, (RESAMPLES, column.size))
    low, high = np.percentile(np.median(column[picked], axis=1), _percentiles(column.size))
    return float(low), float(high)


def _thinned(values: Sequence[float], limit: int) -> Floats:
    """At most `limit` evenly spaced quantiles of the values, sorted."""
    column = np.sort(np.asarray(values, dtype=np.float64))
    if column.size <= limit:
        return column
    picked: Floats = column[np.linspace(0, column.size - 1, limit).round().astype(int)]
    return picked


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


def ratio_ci(candidate: Sequence[Sequence[float]], again: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95% interval of the ratio that the candidate's rounds show, by Student's t over the logarithms of processes.

    What counts is how far processes differ (Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", 2013), and
    of a few processes a bootstrap does not know: it never looks beyond the furthest of them, and of one process it sees
    the rounds alone. In 1,000 simulated comparisons of a file with itself, that found differences in 40% of those of
    one process where the processes differ by more than the rounds. So the baseline's second copy, whose ratio is known
    to be 1, tells the spread too: k processes give 2k - 1 degrees of freedom. A candidate that varies more than the
    copy counts with its own spread; of a single process, the interval is no narrower than its rounds say.

    Args:
        candidate: its latency over the baseline's, round by round, one sequence per process.
        again: the same of the baseline's second copy.
    """
    theirs, ours = (np.log([np.median(process) for process in rounds]) for rounds in (candidate, again))
    half = float(half_width(theirs, ours))
    low, high = float(np.exp(theirs.mean() - half)), float(np.exp(theirs.mean() + half))
    ratio = overall_ratio(candidate)  # a median, and the interval is around a mean
    within = median_ci(candidate) if theirs.size == 1 else (ratio, ratio)
    return min(low, ratio, within[0]), max(high, ratio, within[1])


def half_width(theirs: Floats, ours: Floats) -> Floats:
    """Half of `ratio_ci`'s interval, of logarithms (..., k) of k processes' ratios: the candidate's, the copy's."""
    from scipy.special import stdtrit  # here, since importing scipy takes a moment

    k = theirs.shape[-1]
    deviations = np.square(theirs - theirs.mean(axis=-1, keepdims=True)).sum(axis=-1)
    variance = (np.square(ours).sum(axis=-1) + deviations) / (2 * k - 1)
    if k > 1:
        variance = np.maximum(variance, deviations / (k - 1))
    half: Floats = stdtrit(2 * k - 1, 0.975) * np.sqrt(variance / k)
    return half


def overall_ratio(rounds: Sequence[Sequence[float]]) -> float:
    """The median over all rounds of all processes."""
    return float(np.median(np.concatenate([np.asarray(process) for process in rounds])))


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
