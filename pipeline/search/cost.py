"""What a pruned network costs beside the dense one: latency, multiply-accumulates or weights, as a share that is left.

Latency is asked of a device or of its table (`latency.py`); the other two are counted here, exactly and for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.pruning.costs import NetworkShape
from pipeline.records import CostName, EnergyAnswer, LatencySourceName, Record, over_target

KeepCounts = Mapping[str, int]
"""Channels that each group keeps, or weights that each layer keeps; one that is left out is whole."""
AIM = 0.97
"""The agent aims at this share of a latency target: measured afresh, a plan right on it misses it half of the time."""


class CostAnswer(Record):
    """One network's cost over the dense network's, and the share of that which the target allows."""

    cost: CostName = "latency"
    ratio: float
    target_ratio: float
    latency_ms: float | None = None
    """None where the cost is not latency, and so are the next two."""
    dense_ms: float | None = None
    source: LatencySourceName | None = None
    energy: EnergyAnswer | None = None
    """Beside it, where energy is part of the reward."""

    @property
    def aim(self) -> float:
        """The share of the target that is aimed at: what is counted has no noise to keep away from."""
        return AIM if self.cost == "latency" else 1.0

    @property
    def aim_ratio(self) -> float:
        return self.aim * self.target_ratio

    @property
    def of_aim(self) -> float:
        """1 where the aim is just met, above where it is missed: by the worse of cost and energy, if both count."""
        return over_target(self.ratio / self.target_ratio, self.energy) / self.aim

    @property
    def shortfall(self) -> float:
        """max(1 - P/T_P, 0) of equation 3; 0 on a device where the dense network meets the target already."""
        if self.aim_ratio >= 1.0:
            return 0.0
        return max(1.0 - (1.0 - self.ratio) / (1.0 - self.aim_ratio), 0.0)


class CostSource(Protocol):
    def step(self, kept: KeepCounts) -> CostAnswer:
        """What the network costs after a step."""

    def end(self, kept: KeepCounts) -> CostAnswer:
        """What it costs at the end of an episode."""

    def recall(self, kept: KeepCounts, source: LatencySourceName | None) -> None:
        """Take note of an `end` that was answered, by `source`, before the search was interrupted."""


class Counted:
    """A cost that is counted from what is kept: the same at a step and at the end, and nothing to learn."""

    def step(self, kept: KeepCounts) -> CostAnswer:
        raise NotImplementedError

    def end(self, kept: KeepCounts) -> CostAnswer:
        return self.step(kept)

    def recall(self, kept: KeepCounts, source: LatencySourceName | None) -> None:
        """Nothing to learn: counting again gives the same."""


@dataclass
class CountedMacs(Counted):
    """Multiply-accumulates of one image in convolutions and linear layers."""

    shape: NetworkShape
    target_ratio: float

    def __post_init__(self) -> None:
        self._dense = self.shape.macs({})

    def step(self, kept: KeepCounts) -> CostAnswer:
        return CostAnswer(cost="macs", ratio=self.shape.macs(kept) / self._dense, target_ratio=self.target_ratio)


@dataclass
class CountedWeights(Counted):
    """Weights of convolutions and linear layers that are not zero; the target is a sparsity (PuRL's P is 1 - ratio)."""

    sizes: Mapping[str, int]
    """Of every layer, pruned or not."""
    start: Mapping[str, int]
    """Weights that are not zero where the walk starts: fewer than the size in layers that an earlier round pruned."""
    target_sparsity: float

    def step(self, kept: KeepCounts) -> CostAnswer:
        left = sum(kept.get(name, count) for name, count in self.start.items())
        return CostAnswer(
            cost="sparsity", ratio=left / sum(self.sizes.values()), target_ratio=1.0 - self.target_sparsity
        )


def worst(answers: Sequence[CostAnswer]) -> CostAnswer:
    """Of several devices' answers the one that is furthest from the target."""
    return max(answers, key=lambda answer: (answer.shortfall, answer.of_aim))
