"""Plans that no agent chose, at the pruned network's own measured latency: what the search has to beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.records import PruningPlan
from pipeline.search.cost import CostSource, KeepCounts
from pipeline.search.meter import LatencyMeter
from pipeline.search.recovery import Recovery
from pipeline.search.uniform import KeepGrid, scaled_counts, share_at

NEIGHBOURS = (0.94, 0.97, 1.0, 1.03, 1.06)
"""Shares around the predicted one that are measured, relative to it; the nearest in measured latency is taken."""
SPREAD = 0.5
"""Standard deviation of the logarithm of a group's weight in the random control."""


def group_weights(name: str, grid: KeepGrid, seed: int) -> dict[str, float]:
    """How much more than the common share each group keeps: 1 for `uniform`, drawn at random for `random`."""
    if name == "uniform":
        return dict.fromkeys(grid, 1.0)
    rng = np.random.default_rng(seed)
    return {group: float(np.exp(rng.normal(0.0, SPREAD))) for group in grid}


def control_plan(
    name: str,
    pruned: Mapping[str, int],
    *,
    grid: KeepGrid,
    recovery: Recovery,
    source: CostSource,
    meter: LatencyMeter,
    min_keep: float,
    seed: int,
) -> PruningPlan:
    """The control whose latency, measured in one sitting with the pruned plan, comes nearest to it.

    Where MACs are the target, the one whose MACs do; that is counted, and nothing is measured.
    """
    weights = group_weights(name, grid, seed)

    def counts_at(share: float) -> dict[str, int]:
        return scaled_counts(grid, weights, share)

    wanted = source.step(pruned)
    share = share_at(wanted.ratio, lambda s: source.step(counts_at(s)).ratio, lowest=min_keep)
    if wanted.cost != "latency":
        return recovery.plan(counts_at(share), control=name)
    candidates: list[KeepCounts] = []
    for factor in NEIGHBOURS:
        counts = counts_at(min(1.0, share * factor))
        if counts not in candidates:
            candidates.append(counts)
    reference, *ratios = [comparison.ratio for comparison in meter.fresh([pruned, *candidates]).comparisons]
    ratio, nearest = min(zip(ratios, candidates, strict=True), key=lambda pair: abs(pair[0] - reference))
    return recovery.plan(nearest, control=name, latency_ratio=ratio, pruned_latency_ratio=reference)
