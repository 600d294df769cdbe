"""The knapsack's plan is played, and played anew where a measurement has moved the table."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.search.agents import knapsack
from pipeline.search.cost import CostAnswer
from pipeline.search.env import PruneEnv
from pipeline.search_section import SearchSection
from tests.pipeline.search.toy import ratio, toy_env


def search(folder: Path, env: PruneEnv, **options: object) -> None:
    knapsack.search(env, SearchSection(agent="knapsack", episodes=4, options=options), 0, folder)


@pytest.mark.parametrize("importance", ["fisher", "taylor", "l1", "l2"])
def test_the_plan_meets_the_aim_and_is_played_once_where_nothing_is_measured(tmp_path: Path, importance: str) -> None:
    env = toy_env(tmp_path)
    search(tmp_path, env, importance=importance)
    assert len(env.log.episodes) == 1
    assert env.log.last.plan == {"a": 16, "b": 4, "c": 16}  # no other keeps so many channels within 0.45
    assert ratio(env.log.last.plan) <= 0.45


class Corrected:
    """A device that takes a fifth longer than its table says, until a measurement has taught the table."""

    def __init__(self) -> None:
        self.factor = 1.0

    def step(self, counts: Mapping[str, int]) -> CostAnswer:
        return CostAnswer(ratio=self.factor * ratio(counts), target_ratio=0.45, source="table")

    def end(self, counts: Mapping[str, int]) -> CostAnswer:
        self.factor = 1.2
        return self.step(counts)

    def recall(self, counts: Mapping[str, int], source: str | None) -> None:
        self.factor = 1.2


def test_after_a_measurement_the_plan_is_made_again(tmp_path: Path) -> None:
    env = toy_env(tmp_path)
    object.__setattr__(env.task, "cost", Corrected())
    search(tmp_path, env)
    first, second = env.log.episodes
    assert first.cost_ratio > 0.45 >= second.cost_ratio
