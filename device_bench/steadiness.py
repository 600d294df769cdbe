"""Whether one process's samples of one model are those of one steady latency: pure functions, deterministic.

The kernel's counters (`probes/others.py`) do not see everything that disturbs: a neighbour beyond the hypervisor shares
cache and memory with us, a clock changes, a thread moves to another core. What they do to samples is seen here. The
limits come from some hundred recorded processes of MobileNetV2 at 64 px on a two-core virtual machine. Quiet ones have
a tail on the right (a quarter of their runs takes 4 to 6% longer) and keep their level; where more than half of the
runs are disturbed, the median leaves the level at which runs are densest, and no counter tells.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from device_bench.device import ModelRun

MIN_WALL_S = 0.2
"""A shorter loop is too short for clocks and neighbours to come and go."""
MIN_SHIFT = 0.03
"""What moves the figure by less is none of our business."""
PIECES = 18
PER_PIECE = 3
MAX_AGAINST = 3
"""Of 36 pairs of pieces those that contradict; by chance they are so few in 14 of 924 orders of the pieces, 1.5%."""
MIN_LEVELS_N = 100
DENSEST = 0.25
"""Share of the runs that the level is taken from."""
LEVEL_Z = 3.5
"""Of normal samples 1 to 3% come farther above their level by chance (simulated, 100 to 1,500 samples)."""
GAP = 0.05
MIN_WEIGHT = 0.35
"""Of the rarer of two levels: of a rarer one the median takes little notice."""
MAX_VALLEY = 0.5
VALLEY_Z = 3.0
TRIM = 0.02
"""Share of the slowest runs that is left out: single runs that were interrupted are no level."""

Floats = NDArray[np.float64]


def rejections(run: ModelRun) -> list[str]:
    """Why one process's median must not be believed; empty where it may, or where there are too few samples to say.

    Runs in turns with other models are left alone: what counts of them is the ratio within a round, and what drifts
    or jumps between rounds hits all models alike.
    """
    if len(run.blocks) != 1 or run.wall_s < MIN_WALL_S:
        return []
    samples_ms = np.asarray(run.blocks[0], dtype=np.float64)
    return [reason for reason in (_drifting(samples_ms), _bimodal(samples_ms)) if reason]


def _drifting(samples_ms: Floats) -> str:
    """The last third's median against the first one's, if nearly all pieces of the one lie on one side of the other's.

    That is Mann and Whitney's test (1947) of six pieces against six. Pieces' medians, since neighbouring samples are no
    independent ones: a test of all of them would find a change in any wave.
    """
    if len(samples_ms) < PIECES * PER_PIECE:
        return ""
    thirds_ms = [float(np.median(third)) for third in np.array_split(samples_ms, 3)]
    change = thirds_ms[2] / thirds_ms[0] - 1
    pieces_ms = np.array([np.median(piece) for piece in np.array_split(samples_ms, PIECES)])
    first_ms, last_ms = pieces_ms[: PIECES // 3, None], pieces_ms[None, -PIECES // 3 :]
    against = int((last_ms <= first_ms).sum() if change > 0 else (last_ms >= first_ms).sum())
    if abs(change) < MIN_SHIFT or against > MAX_AGAINST:
        return ""
    return f"drifting: from the first to the last third the latency changed by {change:+.0%} (at most {MIN_SHIFT:.0%})"


def _bimodal(samples_ms: Floats) -> str:
    if len(samples_ms) < MIN_LEVELS_N:
        return ""
    ordered_ms = np.sort(samples_ms)
    low_ms, high_ms, weight, valley = two_levels(ordered_ms)
    if valley and weight >= MIN_WEIGHT and high_ms / low_ms - 1 >= GAP:
        return f"bimodal: {weight:.0%} of the runs keep another level, {low_ms:.3g} and {high_ms:.3g} ms"
    level_ms, median_ms = densest_ms(ordered_ms), float(np.median(ordered_ms))
    quartiles_ms = np.percentile(ordered_ms, [25, 75])
    spread = float(quartiles_ms[1] - quartiles_ms[0]) / 1.349 / level_ms
    by_chance = LEVEL_Z * spread * len(ordered_ms) ** (-1 / 3)
    above = median_ms / level_ms - 1
    if above < max(MIN_SHIFT, by_chance):
        return ""
    return f"bimodal: the median is {above:.0%} above the level that runs are densest at, {level_ms:.3g} ms"


def densest_ms(ordered_ms: Floats) -> float:
    """The level where runs are densest: the median of the shortest interval that holds a quarter of them.

    A form of the shorth (Andrews et al. 1972, "Robust estimates of location"), which estimates a mode.
    """
    held = max(2, math.ceil(DENSEST * len(ordered_ms)))
    widths_ms = ordered_ms[held - 1 :] - ordered_ms[: len(ordered_ms) - held + 1]
    first = int(np.argmin(widths_ms))
    return float(np.median(ordered_ms[first : first + held]))


def two_levels(ordered_ms: Floats) -> tuple[float, float, float, bool]:
    """The best split in two levels: both in ms, the share of the rarer one, and whether there is a valley between them.

    Split as Otsu (1979) does, by the largest variance between the two. A valley is a window between the levels with at
    most half as many runs, and fewer than by chance, than one on either side of it; towards a tail, runs thin out.
    """
    logs = np.log(ordered_ms[: math.ceil((1 - TRIM) * len(ordered_ms))])
    n = len(logs)
    counts, sums = np.arange(1, n), np.cumsum(logs)
    between = counts * (n - counts) * (sums[:-1] / counts - (sums[-1] - sums[:-1]) / (n - counts)) ** 2
    split = int(np.argmax(between)) + 1
    low, high = float(np.median(logs[:split])), float(np.median(logs[split:]))
    centres, half = np.linspace(low, high, 13), (high - low) / 6
    inside = np.searchsorted(logs, centres + half, "right") - np.searchsorted(logs, centres - half, "left")
    lowest = int(np.argmin(inside))
    beside = min(int(inside[: lowest + 1].max()), int(inside[lowest:].max()))
    valley = inside[lowest] <= MAX_VALLEY * beside and beside - inside[lowest] > VALLEY_Z * math.sqrt(beside)
    rarer = min(split, len(ordered_ms) - split) / len(ordered_ms)
    return math.exp(low), math.exp(high), rarer, bool(valley)
