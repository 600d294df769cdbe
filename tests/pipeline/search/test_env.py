"""The environment walks, pays and logs as it says, and answers a second walk from the log."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from pipeline.config import SearchSection
from pipeline.errors import DamagedFileError, SearchError
from pipeline.search import agents
from pipeline.search.finalists import shortlist
from pipeline.search.rewards import latency, latency_and_energy
from tests.pipeline.search.toy import CHOICES, VALUE, ToyJudge, accuracy, energy_ratio, ratio, toy_env

BEST = [3, 0, 3]  # keep all of a and c, the fewest channels of b


def lines(folder: Path) -> list[str]:
    return (folder / "episodes.jsonl").read_text().splitlines()


@pytest.mark.parametrize("state", ["simple", "per_layer"])
def test_gymnasium_accepts_it(tmp_path: Path, state: str) -> None:
    env = toy_env(tmp_path, state=state)
    check_env(env, skip_render_check=True)
    observation, _ = env.reset(seed=1)
    assert observation.shape == {"simple": (3,), "per_layer": (6,)}[state] and not observation.any()


def test_dense_rewards_are_paid_at_every_step_and_sparse_ones_at_the_end(tmp_path: Path) -> None:
    dense = toy_env(tmp_path / "dense").play(BEST, "explore")
    sparse = toy_env(tmp_path / "sparse", dense=False).play(BEST, "explore")
    assert all(step.reward < 0 for step in dense.steps[:1])
    assert [step.reward for step in sparse.steps[:2]] == [0.0, 0.0]
    assert sparse.steps[2].reward == dense.steps[2].reward == sparse.reward
    counts = {"a": 16, "b": 4, "c": 16}
    expected = latency(accuracy(counts), ratio(counts), accuracy_target=0.95, latency_target=0.45 * 0.97, scale=1.0)
    assert dense.plan == counts and dense.steps[-1].reward == expected
    assert dense.reward == sum(step.reward for step in dense.steps)


def test_states_hold_what_the_paper_puts_in_them(tmp_path: Path) -> None:
    env = toy_env(tmp_path / "per_layer")
    env.reset()
    observation, *_ = env.step(1)
    np.testing.assert_allclose(observation, [accuracy({"a": 8}), 0.5, 0, 0, 0, 0], rtol=1e-6)
    env = toy_env(tmp_path / "simple", state="simple")
    env.reset()
    observation, *_ = env.step(1)
    np.testing.assert_allclose(observation, [1 / 3, accuracy({"a": 8}), 1 - ratio({"a": 8})], rtol=1e-6)


def test_a_finished_episode_takes_no_step(tmp_path: Path) -> None:
    env = toy_env(tmp_path)
    env.play(BEST, "explore")
    with pytest.raises(SearchError, match=r"call reset\(\)"):
        env.step(0)


@pytest.mark.parametrize("agent", agents.names())
def test_an_interrupted_search_ends_as_if_it_had_not_been(tmp_path: Path, agent: str) -> None:
    """Kill it after every possible line of the log; each resumed search ends with the same log, line by line."""

    def search(folder: Path) -> list[dict[str, object]]:
        env = toy_env(folder)
        agents.find(agent)(env, SearchSection(episodes=5), 3, folder)
        assert isinstance(env.task.judge, ToyJudge)
        episodes = [json.loads(line) for line in lines(folder)]
        for episode in episodes:
            del episode["seconds"]
        return episodes

    whole = search(tmp_path / "whole")
    stored = lines(tmp_path / "whole")
    for kept in range(len(stored)):
        folder = tmp_path / f"cut-{kept}"
        folder.mkdir()
        half_a_line = stored[kept][: len(stored[kept]) // 2]
        (folder / "episodes.jsonl").write_text("".join(line + "\n" for line in stored[:kept]) + half_a_line)
        assert search(folder) == whole


def test_what_is_logged_is_not_judged_again(tmp_path: Path) -> None:
    toy_env(tmp_path).play(BEST, "explore")
    env = toy_env(tmp_path)
    assert isinstance(env.task.judge, ToyJudge)
    env.play(BEST, "explore")
    assert env.task.judge.calls == 0
    env.play(BEST, "explore")
    assert env.task.judge.calls == 2  # the last step is judged the full way


def test_an_action_that_differs_from_the_log_names_the_step(tmp_path: Path) -> None:
    toy_env(tmp_path).play(BEST, "explore")
    env = toy_env(tmp_path)
    with pytest.raises(SearchError, match="episode 0, step 1: the log has action 0 on b, the agent now takes action 2"):
        env.play([3, 2, 3], "explore")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    toy_env(tmp_path).play(BEST, "explore")
    path = tmp_path / "episodes.jsonl"
    path.write_text(path.read_text().replace('"index":', '"indx":'))
    with pytest.raises(DamagedFileError, match=r"episodes\.jsonl, line 1: not a Episode"):
        toy_env(tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_dqn_learns_the_known_best_plan(tmp_path: Path, seed: int) -> None:
    env = toy_env(tmp_path / "dqn", seed=seed)
    agents.find("dqn")(env, SearchSection(episodes=120), seed, tmp_path)
    greedy = env.log.last
    assert greedy.kind == "greedy"
    assert greedy.plan["b"] == CHOICES[0]
    every_plan = [toy_reward(a, b, c) for a in range(4) for b in range(4) for c in range(4)]
    assert greedy.reward >= float(np.quantile(every_plan, 0.9))


def toy_reward(*actions: int) -> float:
    counts: dict[str, int] = {}
    total = 0.0
    for name, action in zip(VALUE, actions, strict=True):
        counts[name] = CHOICES[action]
        total += latency(accuracy(counts), ratio(counts), accuracy_target=0.95, latency_target=0.45 * 0.97, scale=1.0)
    return total


@pytest.mark.parametrize("energy_share", [0.5, 1.0])
def test_energy_is_paid_logged_and_answered_from_the_log(tmp_path: Path, energy_share: float) -> None:
    played = toy_env(tmp_path, energy_share=energy_share).play(BEST, "explore")
    counts = {"a": 16, "b": 4, "c": 16}
    assert played.steps[-1].energy is not None and played.steps[-1].energy.ratio == energy_ratio(counts)
    expected = latency_and_energy(
        accuracy(counts),
        ratio(counts),
        energy_ratio(counts),
        accuracy_target=0.95,
        latency_target=0.45 * 0.97,
        energy_target=0.45 * 0.97,
        energy_share=energy_share,
        scale=1.0,
    )
    assert played.steps[-1].reward == expected
    env = toy_env(tmp_path, energy_share=energy_share)
    env.reset()
    rewards = [env.step(action)[1] for action in BEST]
    assert rewards == [step.reward for step in played.steps] and len(lines(tmp_path)) == 1
    assert toy_env(tmp_path / "none").play(BEST, "explore").steps[-1].energy is None


def best_plan(folder: Path, energy_share: float) -> dict[str, int]:
    env = toy_env(folder, energy_share=energy_share)
    for actions in itertools.product(range(len(CHOICES)), repeat=len(VALUE)):
        env.play(actions, "explore")
    return shortlist(env.log.episodes, 1)[0].plan


def test_where_energy_and_latency_disagree_the_reward_decides_which_plan_is_best(tmp_path: Path) -> None:
    quick, thrifty = best_plan(tmp_path / "latency", 0.0), best_plan(tmp_path / "energy", 1.0)
    assert ratio(quick) <= 0.45 < ratio(thrifty)
    assert energy_ratio(thrifty) <= 0.45 < energy_ratio(quick)
    both = best_plan(tmp_path / "both", 0.5)
    assert max(ratio(both), energy_ratio(both)) <= 0.45


@pytest.mark.parametrize("seed", range(2))
def test_dqn_learns_what_saves_energy(tmp_path: Path, seed: int) -> None:
    env = toy_env(tmp_path / "dqn", seed=seed, energy_share=1.0)
    agents.find("dqn")(env, SearchSection(episodes=120), seed, tmp_path)
    greedy = env.log.last
    assert energy_ratio(greedy.plan) < energy_ratio({"a": 16, "b": 4, "c": 16})  # the plan that saves latency
    every = toy_env(tmp_path / "every", energy_share=1.0)
    rewards = [every.play(actions, "explore").reward for actions in itertools.product(range(4), repeat=3)]
    assert greedy.reward >= float(np.quantile(rewards, 0.75))


def test_dqn_refuses_an_option_it_does_not_have(tmp_path: Path) -> None:
    from pipeline.errors import ConfigError

    with pytest.raises(ConfigError, match=r"search\.options of dqn: gama: unknown key; known here: batch_size"):
        agents.find("dqn")(toy_env(tmp_path), SearchSection(options={"gama": 1}), 0, tmp_path)
