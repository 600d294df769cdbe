"""A search with a known best plan and no network: sites that hold more or less accuracy, and cost more or less.

Its environment is the real one. What a site's channels are worth shows in its effective rank, and what they cost in its
share of the work, so that a policy over the features of a site can find the best plan as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.records import Evaluation
from pipeline.search import agents
from pipeline.search.actions import Choices, Shares, channel_choices
from pipeline.search.cost import CostAnswer, Counted
from pipeline.search.env import PruneEnv, PruningTask
from pipeline.search.episodes import EpisodeLog
from pipeline.search.pruner import Site
from pipeline.search.rewards import make_reward
from pipeline.search.sites import SiteFacts
from pipeline.search_section import RewardSection, SearchSection

SIZE = 32
COUNTS = tuple(range(4, SIZE + 1, 4))
NAMES = ("a", "b", "c", "d", "e", "f")
VALUE = np.array([0.02, 0.30, 0.04, 0.20, 0.10, 0.25])
COST = np.array([0.35, 0.06, 0.24, 0.10, 0.15, 0.10])
DENSE_ACCURACY = 0.95
BUDGET = 0.5
UNIFORM = 0.5
DENSE_MACS = 1_000_000
REWARD = make_reward(RewardSection(dense=False), DENSE_ACCURACY)


def accuracy(kept: np.ndarray) -> np.ndarray:
    """Of plans (..., 6) in shares: what goes first of a site hurts least."""
    return DENSE_ACCURACY - (1.0 - kept) ** 2 @ VALUE


def shares(kept: Mapping[str, int]) -> np.ndarray:
    return np.array([kept.get(name, SIZE) / SIZE for name in NAMES])


def reward(kept: Mapping[str, int]) -> float:
    cost = float(shares(kept) @ COST)
    return REWARD(float(accuracy(shares(kept))), CostAnswer(cost="macs", ratio=cost, target_ratio=BUDGET), 1.0)


def best_reward() -> float:
    """Of all plans within the budget; no plan beyond it is worth more here, which a test checks."""
    plans = np.array(list(itertools.product(COUNTS, repeat=len(NAMES)))) / SIZE  # (8^6, 6)
    worth = accuracy(plans) / DENSE_ACCURACY - 1.0
    return float(worth[plans @ COST <= BUDGET + 1e-9].max())


class ToyPruner:
    judges_whole_plans = True

    def begin(self, episode: int) -> None:
        self.kept: dict[str, int] = {}

    def kept_by(self, number: int, amount: float) -> int:
        return round(amount)

    def prune(self, number: int, kept: int) -> Evaluation:
        self.kept[NAMES[number]] = kept
        return self.finish(self.kept)

    def finish(self, kept: Mapping[str, int]) -> Evaluation:
        top1 = float(accuracy(shares(kept)))
        return Evaluation(split="validation", top1=top1, top5=None, loss=1.0 - top1, n_images=100, ci95=(0.0, 1.0))


class ToyCost(Counted):
    def step(self, kept: Mapping[str, int]) -> CostAnswer:
        return CostAnswer(cost="macs", ratio=float(shares(kept) @ COST), target_ratio=BUDGET)


class ToySubject:
    """What agents that make whole plans ask of a network: importances that mislead, and losses that do not."""

    scores: ClassVar = {name: np.arange(SIZE, dtype=float) for name in NAMES}

    def scores_by(self, importance: str, *, relative: bool = True) -> dict[str, np.ndarray]:
        """A group's channels hold what they are worth, the first to go the least of it, and then a wrong factor."""
        edges = np.arange(SIZE + 1) / SIZE
        held = np.diff(edges**2)
        return {n: w * v * held for n, v, w in zip(NAMES, VALUE, (8.0, 0.5, 8.0, 0.5, 4.0, 0.5), strict=True)}

    def losses_alone(self) -> dict[str, float]:
        return dict(zip(NAMES, (0.25 * VALUE).tolist(), strict=True))


def site_facts() -> list[SiteFacts]:
    return [
        SiteFacts(
            index=index,
            is_conv=True,
            is_fc=False,
            in_channels=SIZE,
            out_channels=SIZE,
            stride=1,
            kernel=1,
            weights=round(DENSE_MACS * cost),
            macs=float(cost),
            largest_singular_value=1.0 + (index % 3 == 0),  # tells nothing
            effective_rank=float(np.sqrt(value / cost) / 3.0),
        )
        for index, (value, cost) in enumerate(zip(VALUE, COST, strict=True))
    ]


def toy_search(folder: Path, settings: SearchSection, seed: int) -> PruneEnv:
    """The environment as the agent of the settings wants it."""
    grid = dict.fromkeys(NAMES, COUNTS)
    kind = agents.actions_of(settings, "channels")
    around = UNIFORM if kind == "around_target" else None
    choices = channel_choices(grid, n_actions=settings.n_actions, min_keep=0.1, around=around, span=2.0)
    shares_of = Shares(grid, (lambda kept: ToyCost().step(kept).of_aim) if kind == "bounded" else None)
    task = PruningTask(
        sites=[Site(name, SIZE) for name in NAMES],
        actions=shares_of if kind in ("bounded", "continuous") else Choices(tuple(choices.values())),
        pruner=ToyPruner(),
        cost=ToyCost(),
        macs=lambda kept: round(DENSE_MACS * float(shares(kept) @ COST)),
        reward=REWARD,
        dense_reward=True,
        state=agents.state_of(settings),
        facts=site_facts(),
        grid=grid,
        subject=ToySubject(),  # type: ignore[arg-type]
    )
    folder.mkdir(exist_ok=True)
    return PruneEnv(task, EpisodeLog(folder / "episodes.jsonl"), seed)
