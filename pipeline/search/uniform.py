"""Plans that spread pruning evenly: the reference that actions are drawn around, and the control to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.config import PruningSection
from pipeline.pruning.groups import ChannelGroup, keep_values

BISECTIONS = 12
KeepGrid = Mapping[str, tuple[int, ...]]
"""The channel counts that each group may be left with, ascending; the last one is the whole group."""


def round_grid(groups: Sequence[ChannelGroup], settings: PruningSection) -> KeepGrid:
    """Round numbers: the grid where nothing is known of the device's kernels."""
    return {group.name: keep_values(group.channels, settings) for group in groups}


def nearest_keep(counts: Sequence[int], share: float) -> int:
    """The one of the ascending counts nearest to `share` of the last one; the larger one wins a tie."""
    return min(reversed(counts), key=lambda keep: abs(keep - share * counts[-1]))


def uniform_counts(grid: KeepGrid, share: float) -> dict[str, int]:
    return scaled_counts(grid, dict.fromkeys(grid, 1.0), share)


def scaled_counts(grid: KeepGrid, weights: Mapping[str, float], share: float) -> dict[str, int]:
    """Each group keeps about `share` times its weight of its channels, at most all of them."""
    return {name: nearest_keep(counts, min(1.0, share * weights[name])) for name, counts in grid.items()}


def share_at(wanted: float, cost: Callable[[float], float], *, lowest: float, highest: float = 1.0) -> float:
    """The share of channels in lowest..highest whose cost comes nearest to `wanted`, by bisection.

    `cost(share)` is taken to rise with the share; it moves in steps, so the nearest answer seen is returned.
    """
    low, high = lowest, highest
    seen = [(abs(cost(low) - wanted), low)]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        value = cost(middle)
        seen.append((abs(value - wanted), middle))
        low, high = (middle, high) if value < wanted else (low, middle)
    return min(seen)[1]
