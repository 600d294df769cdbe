"""Prunes one network step by step, and says how accurate it is: what the environment asks, whatever is pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.pruning.channels import Scores, strongest
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import Evaluation
from pipeline.search.judge import PrefixJudge


@dataclass(frozen=True)
class Site:
    """What one step prunes: a channel group, or a layer whose weights are pruned."""

    name: str
    size: int
    """Channels, or weights."""


class Pruner(Protocol):
    judges_whole_plans: bool
    """Whether `finish` needs no `prune` before it."""

    def begin(self, episode: int) -> None:
        """Start again from the dense network; `episode` seeds what is random in it."""

    def kept_by(self, number: int, amount: float) -> int:
        """How much of site `number` an amount keeps (`actions.py`), the sites before it being pruned."""

    def prune(self, number: int, kept: int) -> Evaluation:
        """Prune the next site and judge, briefly."""

    def finish(self, kept: Mapping[str, int]) -> Evaluation:
        """Prune to this whole plan and judge it the full way."""


class ChannelPruner:
    """An amount is a number of channels; steps are judged by masks, the whole plan by the rebuilt network."""

    judges_whole_plans = True

    def __init__(
        self,
        groups: Sequence[ChannelGroup],
        scores: Scores,
        judge: PrefixJudge,
        evaluate: Callable[[Mapping[str, int]], Evaluation],
    ) -> None:
        """`evaluate` rebuilds a network with these channel counts, lets it recover and judges it."""
        self._groups = groups
        self._scores = scores
        self._judge = judge
        self._evaluate = evaluate

    def begin(self, episode: int) -> None:
        self._judge.begin()

    def kept_by(self, number: int, amount: float) -> int:
        return round(amount)

    def prune(self, number: int, kept: int) -> Evaluation:
        group = self._groups[number]
        stay = strongest(self._scores[group.name], kept)
        return self._judge.prune(np.setdiff1d(np.arange(group.channels), stay))

    def finish(self, kept: Mapping[str, int]) -> Evaluation:
        return self._evaluate(kept)
