"""What every agent must do: play the search it is given, the same way for the same seed, and learn.

An agent is found by its file. Those that do not learn are named here; any other one must.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from pipeline.errors import ConfigError
from pipeline.search import agents
from pipeline.search_section import SearchSection, TargetSection
from tests.contracts import toy_search
from tests.contracts.toy_search import best_reward, reward, shares

CONTROLS = {"fixed", "random", "uniform", "global_l1", "greedy", "knapsack"}
"""Agents that learn nothing from rewards: what the others are compared with."""
LEARNERS = [name for name in agents.names() if name not in CONTROLS]
EPISODES = 120
SEEDS = (0, 1)
RANDOM_PLANS = 200


def played(folder: Path, agent: str, episodes: int, seed: int, **settings: Any) -> list[dict[str, Any]]:
    """Every episode of a search, as it was logged, without its wall time."""
    section = SearchSection(agent=agent, episodes=episodes, **settings)
    env = toy_search.toy_search(folder, section, seed)
    agents.find(agent)(env, section, seed, folder)
    return [json.loads(line) | {"seconds": None} for line in (folder / "episodes.jsonl").read_text().splitlines()]


def random_rewards(folder: Path, agent: str) -> list[float]:
    """What random actions of the agent's own kind are worth."""
    env = toy_search.toy_search(folder, SearchSection(agent=agent), 0)
    env.action_space.seed(0)
    actions = [[env.action_space.sample() for _ in toy_search.NAMES] for _ in range(RANDOM_PLANS)]
    return [reward(env.play(one, "explore").plan) for one in actions]


@pytest.mark.parametrize("agent", LEARNERS)
def test_it_learns(tmp_path: Path, agent: str) -> None:
    """Its greedy plans are better than random ones, and near the best: in the mean most of the way there."""
    random = random_rewards(tmp_path / "random", agent)
    learned = []
    for seed in SEEDS:
        *explored, greedy = played(tmp_path / str(seed), agent, EPISODES, seed)
        assert greedy["kind"] == "greedy" and len(explored) <= EPISODES
        learned.append(reward(greedy["plan"]))
    assert mannwhitneyu(learned, random, alternative="greater").pvalue < 0.02
    usual = float(np.mean(random))
    assert (np.mean(learned) - usual) / (best_reward() - usual) > 0.6


@pytest.mark.parametrize("agent", LEARNERS)
@pytest.mark.parametrize("which", [0, -1])
def test_equal_seeds_play_equal_searches(tmp_path: Path, agent: str, which: int) -> None:
    """With each end of the kinds of actions that it can take."""
    actions = importlib.import_module(f"pipeline.search.agents.{agent}").ACTIONS[which]
    first, again, other = (
        played(tmp_path / str(number), agent, 6, seed, actions=actions) for number, seed in enumerate((4, 4, 5))
    )
    assert first == again
    assert [episode["plan"] for episode in first] != [episode["plan"] for episode in other]


@pytest.mark.parametrize("agent", agents.names())
def test_what_it_cannot_do_is_refused_before_any_work(agent: str) -> None:
    """Weights, by agents that make plans of channels; measuring every answer, by those that ask thousands."""
    module = importlib.import_module(f"pipeline.search.agents.{agent}")
    measured = SearchSection(agent=agent, latency_source="measured")
    if getattr(module, "ASKS_OFTEN", False):
        with pytest.raises(ConfigError, match=rf"search\.latency_source: {agent} asks .* set table or hybrid"):
            agents.actions_of(measured, "channels")
    else:
        assert agents.actions_of(measured, "channels") == module.ACTIONS[0]
    settings = SearchSection(agent=agent, target=TargetSection(sparsity=0.5))
    if not set(module.ACTIONS) & set(agents.WEIGHT_ACTIONS):
        with pytest.raises(ConfigError, match=rf"search\.agent: {agent} makes plans of channels"):
            agents.actions_of(settings, "weights")
    else:
        assert agents.actions_of(settings, "weights") in module.ACTIONS


def test_the_toy_has_a_best_plan_that_keeps_what_is_worth_keeping() -> None:
    """The best plan is within the budget; neither the whole network nor the smallest comes near it."""
    whole = dict.fromkeys(toy_search.NAMES, toy_search.SIZE)
    smallest = dict.fromkeys(toy_search.NAMES, toy_search.COUNTS[0])
    worth_it = whole | {"a": 4, "c": 8, "e": 16}
    assert float(shares(worth_it) @ toy_search.COST) <= toy_search.BUDGET
    assert max(reward(whole), reward(smallest)) < -0.5 < -0.1 < reward(worth_it) <= best_reward() < 0.0


def test_no_plan_beyond_the_budget_is_worth_more_than_the_best_within() -> None:
    rng = np.random.default_rng(0)
    plans = rng.choice(toy_search.COUNTS, size=(5000, len(toy_search.NAMES)))
    assert max(reward(dict(zip(toy_search.NAMES, map(int, plan), strict=True))) for plan in plans) <= best_reward()


def test_a_linear_policy_leaves_its_explanations_and_its_features(tmp_path: Path) -> None:
    *_, greedy = played(tmp_path, "explainable", 10, 0)
    explained = json.loads((tmp_path / "explanations.json").read_text())
    assert [one["site"] for one in explained] == list(toy_search.NAMES)
    assert [one["asked"] for one in explained] == pytest.approx([step["action"] for step in greedy["steps"]], abs=1e-5)
    assert {one["site"]: one["kept"] for one in explained} == {
        name: kept / toy_search.SIZE for name, kept in greedy["plan"].items()
    }
    lines = [json.loads(line) for line in (tmp_path / "learning.jsonl").read_text().splitlines()]
    assert [line["episode"] for line in lines] == list(range(10))
    assert lines[0]["noise"] is None and lines[-1]["noise"] == pytest.approx(0.5 * 0.95**8)
    assert set(lines[-1]["importance"]) == set(lines[-1]["weights"]) == set(explained[0]["contributions"])


def test_a_deep_actor_has_nothing_to_explain(tmp_path: Path) -> None:
    played(tmp_path, "explainable", 4, 0, options={"actor": "mlp"})
    assert not (tmp_path / "explanations.json").exists()
    assert json.loads((tmp_path / "learning.jsonl").read_text().splitlines()[-1])["weights"] is None


@pytest.mark.parametrize("agent", ["amc", "explainable", "tradeoff"])
def test_a_search_that_is_played_again_writes_its_learning_once(tmp_path: Path, agent: str) -> None:
    first = played(tmp_path, agent, 12, 0)
    before = (tmp_path / "learning.jsonl").read_text()
    assert played(tmp_path, agent, 12, 0) == first  # answered from the log
    assert (tmp_path / "learning.jsonl").read_text() == before and before
