"""The channel counts that are worth offering: the right edges of the steps that a device's kernels make.

A kernel computes output channels in tiles of 8, 16 or 32, so that 40 channels may cost what 64 do; a count in the
middle of a step pays for channels that it does not have. The steps are read from single layers' measured times, never
assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.pruning.costs import NetworkShape
from pipeline.search.layer_times import LayerTimes

FLAT = 0.25
"""A count whose next one costs less than this share of a proportional rise stands within a step."""


def right_edges(counts: Sequence[int], costs: Sequence[float]) -> tuple[int, ...]:
    """Those of the ascending counts after which the cost rises; the last one is always one.

    A count from which the cost falls is none either: more channels cost less there.
    """
    edges = []
    for here, after, cost, next_cost in zip(counts, counts[1:], costs, costs[1:], strict=False):
        proportional = cost * (after - here) / here
        if next_cost - cost > FLAT * proportional:
            edges.append(here)
    return (*edges, counts[-1])


def steps(staircases: Mapping[str, Mapping[int, float]]) -> dict[str, tuple[int, ...]]:
    """The right edges of each group's staircase."""
    return {group: right_edges(tuple(costs), tuple(costs.values())) for group, costs in staircases.items()}


def staircases(
    shape: NetworkShape, times: LayerTimes, grid: Mapping[str, Sequence[int]]
) -> dict[str, dict[int, float]]:
    """What each of the counts in `grid` costs: ascending count -> share of the dense latency, for each group.

    What makes a group's steps are the layers that write its channels; those that read them cost in proportion.
    """
    return {
        group: dict(zip(counts, _written(shape, times, group, counts), strict=True)) for group, counts in grid.items()
    }


def _written(shape: NetworkShape, times: LayerTimes, group: str, counts: Sequence[int]) -> list[float]:
    """What the layers that write the group's channels cost together, all others being whole."""
    column = shape.group_names.index(group)
    writes: NDArray[np.bool_] = shape.out_links[:, column] > 0
    return [float(times.ratios(*shape.channels({group: count}))[writes].sum()) for count in counts]
