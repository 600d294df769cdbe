"""What an agent may do at a step: one of some amounts, or any share of what is pruned.

An amount is what the pruner takes: channels to keep, or how hard a layer's weights are pruned.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import gymnasium as gym
import numpy as np

from pipeline.config import PruningSection
from pipeline.errors import SearchError
from pipeline.search.cost import KeepCounts
from pipeline.search.uniform import KeepGrid, nearest_keep

Action = int | float
Cost = Callable[[KeepCounts], float]
"""What a network costs over what is aimed at: 1 or less is within reach."""


class Actions(Protocol):
    @property
    def space(self) -> gym.spaces.Space[Any]:
        """Of the agent's actions."""

    def read(self, action: Any) -> Action:
        """What the agent gave, as it is logged: a number of the choices, or a share from 0 to 1."""

    def amount(self, number: int, action: Action, kept: KeepCounts) -> float:
        """What the action means at step `number`, after `kept` was kept of the sites before."""

    def mean(self, number: int, actions: Sequence[Action]) -> float:
        """The amount of several episodes' actions at step `number`, averaged (PuRL, Algorithm 1)."""


@dataclass(frozen=True)
class Choices:
    """One of `amounts[number]`, ascending for channels; every step offers equally many."""

    amounts: Sequence[Sequence[float]]

    @property
    def space(self) -> gym.spaces.Discrete[Any]:
        return gym.spaces.Discrete(len(self.amounts[0]))

    def read(self, action: Any) -> int:
        number = int(action)
        if not 0 <= number < len(self.amounts[0]):
            raise SearchError(f"action {number}: this search offers 0 to {len(self.amounts[0]) - 1}")
        return number

    def amount(self, number: int, action: Action, kept: KeepCounts) -> float:
        return self.amounts[number][int(action)]

    def mean(self, number: int, actions: Sequence[Action]) -> float:
        return float(np.mean([self.amounts[number][int(action)] for action in actions]))


class _OneShare:
    """What actions have in common that are one share from 0 to 1."""

    @property
    def space(self) -> gym.spaces.Box:
        return gym.spaces.Box(0.0, 1.0, shape=(1,), dtype=np.float32)

    def read(self, action: Any) -> float:
        values = np.asarray(action, dtype=np.float64).reshape(-1)
        if values.shape != (1,) or not np.isfinite(values[0]):
            raise SearchError(f"action {action!r}: this search takes one share from 0 to 1")
        return float(min(max(values[0], 0.0), 1.0))


@dataclass(frozen=True)
class Shares(_OneShare):
    """Any share of the group's channels, brought to the nearest count of the grid.

    With `cost` (`bounded`) the count is lowered until the aim can still be met by pruning all later groups as far as
    may be, as AMC does for its FLOPs (He et al. 2018, Algorithm 1); here for any cost.
    """

    grid: KeepGrid
    cost: Cost | None = None

    def amount(self, number: int, action: Action, kept: KeepCounts) -> float:
        name = list(self.grid)[number]
        counts = self.grid[name]
        count = nearest_keep(counts, float(action))
        if self.cost is None:
            return count
        allowed = counts[: bisect.bisect_right(counts, count)]
        return allowed[max(self._affordable(name, allowed, kept) - 1, 0)]

    def mean(self, number: int, actions: Sequence[Action]) -> float:
        counts = list(self.grid.values())[number]
        return nearest_keep(counts, float(np.mean(actions)))

    def _affordable(self, name: str, counts: Sequence[int], kept: KeepCounts) -> int:
        """How many of the ascending counts leave the aim within reach."""
        smallest = {group: all_counts[0] for group, all_counts in self.grid.items()} | dict(kept)
        assert self.cost is not None
        cost = self.cost
        return bisect.bisect_right(counts, 1.0, key=lambda count: cost(smallest | {name: count}))


@dataclass(frozen=True)
class WeightShares(_OneShare):
    """Any amount up to the highest: a share of 1 keeps all weights, 0 prunes as hard as may be."""

    highest: float
    threshold: Literal["sigma", "share"]
    """What an amount is: a multiple of the layer's standard deviation, or the share of its weights that goes."""

    def in_words(self, action: float) -> str:
        """What an action asks for."""
        amount = self.amount(0, action, {})
        return f"alpha {amount:.2f}" if self.threshold == "sigma" else f"{1.0 - amount:.0%}"

    def amount(self, number: int, action: Action, kept: KeepCounts) -> float:
        return (1.0 - float(action)) * self.highest

    def mean(self, number: int, actions: Sequence[Action]) -> float:
        return self.amount(number, float(np.mean(actions)), {})


def weight_amounts(settings: PruningSection) -> tuple[float, ...]:
    """The amounts offered for a layer's weights: multiples of sigma (PuRL 3.2.2), or shares that go.

    The paper does not say which shares its magnitude target chooses from: here as many as there are multiples, from 0
    to what the highest multiple takes of normally distributed weights.
    """
    steps = round(settings.max_sigma / settings.sigma_step)
    if settings.threshold == "sigma":
        return tuple(settings.max_sigma * step / steps for step in range(steps + 1))
    return tuple(highest_amount(settings) * step / steps for step in range(steps + 1))


def highest_amount(settings: PruningSection) -> float:
    return settings.max_sigma if settings.threshold == "sigma" else math.erf(settings.max_sigma / math.sqrt(2.0))


def channel_choices(
    grid: KeepGrid, *, n_actions: int, min_keep: float, around: float | None, span: float
) -> dict[str, tuple[int, ...]]:
    """Channel counts by action number, from few to many.

    Args:
        around: share of the channels that the middle action keeps; None offers shares from `min_keep` to all.
        span: `around` is divided and multiplied by up to this.
    """
    if around is None:
        shares = np.linspace(min_keep, 1.0, n_actions)
    else:
        shares = around * span ** np.linspace(-1.0, 1.0, n_actions)
    return {
        name: tuple(nearest_keep(counts, min(1.0, float(share))) for share in shares) for name, counts in grid.items()
    }
