"""The environment walks, pays and logs as it says, and answers a second walk from the log."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DamagedFileError, SearchError
from pipeline.search import agents
from pipeline.search.finalists import shortlist
from pipeline.search.rewards import amc, equation_3, with_energy
from pipeline.search_section import SearchSection
from tests.pipeline.search.toy import CHOICES, KINDS, VALUE, ToyJudge, accuracy, energy_ratio, ratio, toy_env

BEST = [3, 0, 3]  # keep all of a and c, the fewest channels of b


def of_latency(counts: Mapping[str, int]) -> float:
    """The toy's reward: equation 3 over accuracy and latency."""
    targets = {"accuracy_target": 0.95, "saved_target": 1 - 0.97 * 0.45}
    return equation_3(accuracy(counts), 1 - ratio(counts), scale=1.0, **targets)


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
    expected = of_latency(counts)
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
        settings = SearchSection(agent=agent, episodes=5)
        kind, state = agents.actions_of(settings, "channels"), agents.state_of(settings)
        agents.find(agent)(toy_env(folder, actions=kind, state=state), settings, 3, folder)
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
    judge = env.task.pruner._judge  # type: ignore[attr-defined]
    assert isinstance(judge, ToyJudge)
    env.play(BEST, "explore")
    assert judge.calls == 0
    env.play(BEST, "explore")
    assert judge.calls == 2  # the last step is judged the full way


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
        total += of_latency(counts)
    return total


@pytest.mark.parametrize("energy_share", [0.5, 1.0])
def test_energy_is_paid_logged_and_answered_from_the_log(tmp_path: Path, energy_share: float) -> None:
    played = toy_env(tmp_path, energy_share=energy_share).play(BEST, "explore")
    counts = {"a": 16, "b": 4, "c": 16}
    assert played.steps[-1].energy is not None and played.steps[-1].energy.ratio == energy_ratio(counts)
    expected = with_energy(
        accuracy(counts),
        1 - ratio(counts),
        1 - energy_ratio(counts),
        accuracy_target=0.95,
        saved_target=1 - 0.97 * 0.45,
        energy_target=1 - 0.97 * 0.45,
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


def test_an_episode_below_the_limit_is_given_up_and_pays_for_the_steps_it_left_out(tmp_path: Path) -> None:
    env = toy_env(tmp_path, stop_below=0.7)
    episode = env.play([0, 0, 0], "explore")  # a holds half of the accuracy
    assert len(episode.steps) == 1 and episode.plan == {"a": 4}
    assert episode.failure == "given up after a: top-1 62.50%, below 70.00%"
    assert episode.reward == pytest.approx(3 * of_latency({"a": 4}))
    assert env.play(BEST, "explore").failure is None
    assert [one.index for one in shortlist(env.log.episodes, 5)] == [1]
    with pytest.raises(
        SearchError, match=r"every .* the last one after a: top-1 62\.50%.* 45% of the dense latency, .* lower"
    ):
        shortlist(env.log.episodes[:1], 5)
    resumed = toy_env(tmp_path, stop_below=0.7)
    assert resumed.play([0, 0, 0], "explore") == episode and len(lines(tmp_path)) == 2


def test_to_be_given_up_is_never_a_gain(tmp_path: Path) -> None:
    """AMC's reward is the accuracy: paid for the steps that are left out as well, it would be the more the earlier."""
    env = toy_env(tmp_path, stop_below=0.7)
    object.__setattr__(env.task, "reward", lambda accuracy, cost, macs: amc(accuracy, scale=1.0))
    given_up, whole = env.play([0, 0, 0], "explore"), env.play(BEST, "explore")
    assert given_up.reward == accuracy({"a": 4}) < whole.reward


def test_a_whole_plan_is_walked_as_it_is(tmp_path: Path) -> None:
    env = toy_env(tmp_path)
    episode = env.play_plan({"a": 13, "b": 5, "c": 16}, "reference")
    assert episode.plan == {"a": 13, "b": 5, "c": 16} and [step.action for step in episode.steps] == [None] * 3
    assert toy_env(tmp_path).play_plan({"a": 13, "b": 5, "c": 16}, "reference") == episode
    assert [step.evaluation is None for step in episode.steps] == [True, True, False]
    assert episode.reward == episode.steps[-1].reward < 0
    judged = toy_env(tmp_path / "judged").play_plan({"a": 13, "b": 5, "c": 16}, "reference", judge_steps=True)
    assert all(step.evaluation is not None for step in judged.steps)
    assert judged.steps[-1].reward == episode.reward > judged.reward


def test_several_greedy_episodes_are_averaged_into_the_last(tmp_path: Path) -> None:
    """PuRL, Algorithm 1: the amount of each layer is the mean over 5 episodes of the trained policy."""
    settings = SearchSection(episodes=5, options={"greedy_episodes": 3})
    env = toy_env(tmp_path)
    agents.find("dqn")(env, settings, 0, tmp_path)
    *greedy, average = env.log.episodes[5:]
    assert [episode.kind for episode in greedy] == ["greedy"] * 3 and average.kind == "average"
    for number, step in enumerate(average.steps):
        assert step.kept == round(np.mean([episode.steps[number].kept for episode in greedy]))


@given(shares=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3))
def test_bounded_actions_never_leave_the_target_out_of_reach(shares: list[float]) -> None:
    kept: dict[str, int] = {}
    for number, (name, share) in enumerate(zip(VALUE, shares, strict=True)):
        asked, allowed = (int(KINDS[kind].amount(number, share, kept)) for kind in ("continuous", "bounded"))
        assert allowed <= asked and allowed in CHOICES
        larger = kept | {name: next((c for c in CHOICES if c > allowed), allowed)}
        rest = {other: CHOICES[0] for other in list(VALUE)[number + 1 :]}
        if allowed < asked:  # no more than was needed
            assert ratio(rest | larger) > 0.45
        kept[name] = allowed
    assert ratio(kept) <= 0.45
