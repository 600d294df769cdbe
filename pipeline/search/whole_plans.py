"""What agents share that make whole channel plans from what a plan costs, and take no steps of their own."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.records import Episode
from pipeline.search.cost import AIM, KeepCounts
from pipeline.search.env import PruneEnv
from pipeline.search.uniform import KeepGrid, nearest_keep
from pipeline.subject import Subject

Cost = Callable[[KeepCounts], float]
"""What a plan costs over what it may cost: 1 or less is within the budget."""
SCALES = 1000
"""In how many steps a plan is made smaller as a whole."""


@dataclass(frozen=True)
class ChannelTask:
    """What there is to choose from, what it is chosen by, and what it costs over what is aimed at."""

    grid: KeepGrid
    subject: Subject
    cost: Cost


def channel_task(env: PruneEnv) -> ChannelTask:
    """What a whole plan is made from; `agents.actions_of` refuses where it cannot be made."""
    task = env.task
    assert task.grid is not None and task.subject is not None
    return ChannelTask(task.grid, task.subject, lambda kept: task.cost.step(kept).of_aim)


def first_within(plans: Callable[[int], dict[str, int]], last: int, cost: Cost) -> dict[str, int]:
    """The first of the plans 0..last, each smaller than the one before, that costs 1 or less; else the last one."""
    number = bisect.bisect_left(range(last), True, key=lambda number: cost(plans(number)) <= 1.0)
    return plans(number)


def scaled_within(grid: KeepGrid, cost: Cost, plan: Mapping[str, int]) -> dict[str, int]:
    """The plan itself if it costs 1 or less; else all its groups made smaller in proportion until it does."""

    def scaled(number: int) -> dict[str, int]:
        factor = 1.0 - number / SCALES
        return {name: nearest_keep(counts, factor * plan[name] / counts[-1]) for name, counts in grid.items()}

    return first_within(scaled, SCALES, cost)


def play_until_settled(env: PruneEnv, make: Callable[[], dict[str, int]], most: int) -> None:
    """Play the plan; again as long as its measurement has corrected the table so far that there is another plan.

    It ends when the cost is as near to the aim as the aim is to the target, when the plan stays the same, or after
    `most` episodes. With a cost that is not measured the first plan stays.
    """
    played: list[dict[str, int]] = []
    while len(played) < most and (plan := make()) not in played:
        played.append(plan)
        env.play_plan(plan, "explore")
        if abs(_of_aim(env.log.last) - 1.0) <= 1.0 - AIM:
            return


def _of_aim(episode: Episode) -> float:
    last = episode.steps[-1]
    aim = AIM if last.cost == "latency" else 1.0
    return last.cost_ratio / (aim * last.target_ratio)
