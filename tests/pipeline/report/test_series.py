"""The charts compare like with like."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipeline.records import Episode
from pipeline.report.results import read_results
from pipeline.report.series import learning_curve


def of_steps(episode: Episode, *rewards: float, failure: str | None = None) -> Episode:
    """The episode with so many steps, each paid."""
    steps = tuple(episode.steps[-1].model_copy(update={"reward": reward}) for reward in rewards)
    return episode.model_copy(update={"steps": steps, "reward": sum(rewards), "failure": failure})


def test_episodes_are_compared_by_what_their_whole_plans_are_paid(run_dir: Path) -> None:
    """One that is paid at every step has a sum that says nothing beside a plan that is paid once."""
    results = read_results(run_dir)
    one = results.episodes[0]
    played = (of_steps(one, -0.5, -0.3, -0.2), of_steps(one, 0.0, 0.0, -0.4))
    points = learning_curve(dataclasses.replace(results, episodes=played))
    assert [(point.reward, point.best_reward) for point in points] == [(-0.2, -0.2), (-0.4, -0.2)]


def test_an_episode_that_was_given_up_has_no_plan_to_compare(run_dir: Path) -> None:
    results = read_results(run_dir)
    one = results.episodes[0]
    played = (of_steps(one, -0.4), of_steps(one, 0.9, failure="given up after a: top-1 1.00%, below 2.00%"))
    whole, given_up = learning_curve(dataclasses.replace(results, episodes=played))
    assert (given_up.reward, given_up.cost_ratio, given_up.best_reward) == (None, None, -0.4)
    assert given_up.failure is not None and given_up.top1 is not None and whole.cost_ratio is not None
