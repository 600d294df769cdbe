"""NetAdapt's rounds: the harmless group goes first, within the evaluations that there are, and none is done twice."""

import json
from pathlib import Path

import pytest

from pipeline.search.agents import greedy
from pipeline.search.env import PruneEnv
from pipeline.search_section import SearchSection
from tests.pipeline.search.toy import ratio, toy_env


def search(folder: Path, episodes: int) -> PruneEnv:
    env = toy_env(folder)
    greedy.search(env, SearchSection(agent="greedy", episodes=episodes), 0, folder)
    return env


def evaluations(folder: Path) -> int:
    return int(json.loads((folder / "evaluations.json").read_text())["evaluations"])


def test_it_takes_the_group_whose_channels_are_worth_nothing(tmp_path: Path) -> None:
    plan = search(tmp_path, episodes=12).log.last.plan
    # Half of the latency must go: of b's alone, the least that is enough.
    assert plan == {"a": 16, "b": 4, "c": 16} and ratio(plan) <= 0.45 < ratio({"b": 8})


@pytest.mark.parametrize("episodes", [1, 2, 5, 12])
def test_it_judges_no_more_than_it_may_and_says_how_many(tmp_path: Path, episodes: int) -> None:
    env = search(tmp_path, episodes)
    lines = (tmp_path / "proposals.jsonl").read_text().splitlines()
    assert evaluations(tmp_path) == len(lines) <= episodes
    assert ratio(env.log.last.plan) <= 0.45


def test_a_search_that_is_run_again_judges_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = search(tmp_path, episodes=6).log.last.plan
    path = tmp_path / "proposals.jsonl"
    whole = path.read_text()
    env = toy_env(tmp_path)
    monkeypatch.setattr(env.task.pruner, "finish", lambda kept: pytest.fail(f"{kept} is judged again"))
    greedy.search(env, SearchSection(agent="greedy", episodes=6), 0, tmp_path)
    assert env.log.last.plan == plan and path.read_text() == whole
    path.write_text(whole.splitlines(keepends=True)[0])  # killed after the first
    assert search(tmp_path, episodes=6).log.last.plan == plan and path.read_text() == whole
