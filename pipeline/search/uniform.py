"""Plans that spread pruning evenly: the reference that actions are drawn around, and the control to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.config import PruningSection
from pipeline.pruning.groups import ChannelGroup, keep_values

BISECTIONS = 12


def nearest_keep(channels: int, share: float, settings: PruningSection) -> int:
    """The allowed channel count nearest to `share` of the group's channels; the larger one wins a tie."""
    return min(reversed(keep_values(channels, settings)), key=lambda keep: abs(keep - share * channels))


def uniform_counts(groups: Sequence[ChannelGroup], share: float, settings: PruningSection) -> dict[str, int]:
    return scaled_counts(groups, dict.fromkeys((group.name for group in groups), 1.0), share, settings)


def scaled_counts(
    groups: Sequence[ChannelGroup], weights: Mapping[str, float], share: float, settings: PruningSection
) -> dict[str, int]:
    """Each group keeps about `share` times its weight of its channels, at most all of them."""
    return {
        group.name: nearest_keep(group.channels, min(1.0, share * weights[group.name]), settings) for group in groups
    }


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
