"""One threshold over the channels of all groups: torch-pruning's global pruning, which says how many each group keeps.

Channels are scored by its `MagnitudeImportance`: the norms of all weights that write or read a channel, averaged over
the layers of its group and divided by the group's mean. Departures: a group always keeps the smallest count of the
grid (torch-pruning would leave a group whole that it would else empty), counts are brought to the grid, and which
channels stay is decided by `pruning.importance`, as for every other plan.
"""

from __future__ import annotations

from typing import Any

import torch
import torch_pruning as tp

from pipeline.pruning.groups import ChannelGroup
from pipeline.search.uniform import KeepGrid, nearest_keep
from pipeline.subject import Subject

STEPS = 1000
"""Pruning ratios between none and all that may go."""


class GlobalThreshold:
    """`counts(number)` prunes `number / STEPS` of what may go; nothing is really removed.

    Args:
        p: of the norm; 1 is the sum of absolute weights, 2 of their squares.
    """

    def __init__(self, subject: Subject, grid: KeepGrid, p: int) -> None:
        self._grid = grid
        self._group_by_layer = {
            subject.network.get_submodule(member.layer): group
            for group in subject.groups
            for member in group.members
            if member.axis == "out"
        }
        fixed = [
            subject.network.get_submodule(member.layer)
            for group in subject.all_groups
            if group.fixed
            for member in group.members
            if member.axis == "out"
        ]
        total, smallest = (sum(counts[end] for counts in grid.values()) for end in (-1, 0))
        self._pruner = tp.pruner.BasePruner(
            subject.network,
            torch.zeros(1, *subject.input_shape),
            importance=self._importance,
            global_pruning=True,
            # One channel less than may go, so that rounding never lets the threshold reach those that must stay.
            pruning_ratio=max(total - smallest - 1, 0) / total,
            iterative_steps=STEPS,
            ignored_layers=fixed,
            # Its defaults are dictionaries that all its objects share and write into.
            in_channel_groups={},
            out_channel_groups={},
            num_heads={},
        )
        self._magnitude = tp.importance.MagnitudeImportance(p=p)

    def counts(self, number: int) -> dict[str, int]:
        """Channels kept by group, each the nearest count of the grid."""
        shares = {name: kept / self._grid[name][-1] for name, kept in self.kept(number).items()}
        return {name: nearest_keep(counts, shares[name]) for name, counts in self._grid.items()}

    def kept(self, number: int) -> dict[str, int]:
        """Channels kept by group, as torch-pruning has them."""
        left = {name: counts[-1] for name, counts in self._grid.items()}
        if number == 0:
            return left
        self._pruner.current_step = number - 1
        for pruned in self._pruner.step(interactive=True):
            left[self._group(pruned).name] -= len(pruned[0].idxs)
        return left

    def _importance(self, group: Any) -> torch.Tensor:
        """(channels,) torch-pruning's own; infinite for the strongest, as many as the group must keep."""
        scores: torch.Tensor = self._magnitude(group).clone()
        scores[scores.topk(self._grid[self._group(group).name][0]).indices] = torch.inf
        return scores

    def _group(self, group: Any) -> ChannelGroup:
        return self._group_by_layer[group[0].dep.target.module]
