"""Plans that no agent chose, at the pruned network's own measured latency: what the search has to beat."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np

from pipeline.config import ControlName
from pipeline.records import PruningPlan
from pipeline.search.cost import CostSource, KeepCounts
from pipeline.search.global_threshold import STEPS, GlobalThreshold
from pipeline.search.knapsack import DEFAULT_IMPORTANCE, importance_of, kept_importance, knapsack_plan
from pipeline.search.meter import LatencyMeter
from pipeline.search.recovery import Recovery
from pipeline.search.uniform import KeepGrid, scaled_counts, share_at
from pipeline.search.whole_plans import Cost, first_within
from pipeline.subject import Subject

NEIGHBOURS = (0.94, 0.97, 1.0, 1.03, 1.06)
"""Shares (or budgets) around the predicted one that are measured, relative to it; the nearest in measured latency is
taken."""
SPREAD = 0.5
"""Standard deviation of the logarithm of a group's weight in the random control."""


def group_weights(name: str, grid: KeepGrid, seed: int) -> dict[str, float]:
    """How much more than the common share each group keeps: 1 for `uniform`, drawn at random for `random`."""
    if name == "uniform":
        return dict.fromkeys(grid, 1.0)
    rng = np.random.default_rng(seed)
    return {group: float(np.exp(rng.normal(0.0, SPREAD))) for group in grid}


def control_plan(
    name: ControlName,
    pruned: Mapping[str, int],
    *,
    subject: Subject,
    grid: KeepGrid,
    recovery: Recovery,
    source: CostSource,
    meter: LatencyMeter,
) -> PruningPlan:
    """The control whose latency, measured in one sitting with the pruned plan, comes nearest to it.

    Where MACs are the target, the one whose MACs do; that is counted, and nothing is measured.
    """
    wanted = source.step(pruned)
    if name in ("global_l1", "knapsack"):
        candidates = _within(name, wanted.ratio, subject, grid, source)
    else:
        candidates = _in_proportion(group_weights(name, grid, subject.config.seed), wanted.ratio, subject, grid, source)
    if wanted.cost != "latency":
        nearest = min(candidates, key=lambda counts: abs(source.step(counts).ratio - wanted.ratio))
        return recovery.plan(nearest, control=name)
    candidates = [counts for number, counts in enumerate(candidates) if counts not in candidates[:number]]
    reference, *ratios = [comparison.ratio for comparison in meter.fresh([pruned, *candidates]).comparisons]
    ratio, nearest = min(zip(ratios, candidates, strict=True), key=lambda pair: abs(pair[0] - reference))
    return recovery.plan(nearest, control=name, latency_ratio=ratio, pruned_latency_ratio=reference)


def _in_proportion(
    weights: Mapping[str, float], wanted: float, subject: Subject, grid: KeepGrid, source: CostSource
) -> list[dict[str, int]]:
    """Plans that keep a share of each group, times its weight, around the one that costs what is wanted."""

    def cost(share: float) -> float:
        return source.step(scaled_counts(grid, weights, share)).ratio

    share = share_at(wanted, cost, lowest=subject.config.pruning.min_keep)
    return [scaled_counts(grid, weights, min(1.0, share * factor)) for factor in NEIGHBOURS]


def _within(
    name: ControlName, wanted: float, subject: Subject, grid: KeepGrid, source: CostSource
) -> list[dict[str, int]]:
    """The plans that the agent of this name makes, with its own defaults, of budgets around the one that is wanted."""
    make: Callable[[Cost], dict[str, int]]
    if name == "global_l1":
        threshold = GlobalThreshold(subject, grid, p=1)
        make = functools.partial(first_within, threshold.counts, STEPS)
    else:
        values = kept_importance(grid, subject.scores, importance_of(subject, DEFAULT_IMPORTANCE))
        make = functools.partial(knapsack_plan, values)

    def cost(kept: KeepCounts, budget: float) -> float:
        return source.step(kept).ratio / budget

    return [make(functools.partial(cost, budget=factor * wanted)) for factor in NEIGHBOURS]
