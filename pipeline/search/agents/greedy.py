"""Control in the manner of NetAdapt (Yang et al. 2018): round by round the cut in latency that costs least accuracy.

A round must cut the cost to a share of what it was. For each group the largest count that alone does so, by the table,
is a proposal; each is judged after the recovery that the search's `recover` says (its short-term fine-tuning), and the
most accurate one is kept (algorithm 1).

Departures. NetAdapt judges a proposal of every group in every round, hundreds for a network; here `search.episodes`
bounds them. So only the first round judges all groups; in later ones those go first that hurt least when they were
judged last, until the best of the round hurts less than the next one did (lazy evaluation, Minoux 1978). How much a
round cuts follows from the rounds that can be paid for, and is less where too few groups could do it alone. What is
left to cut when all are spent is cut from all groups in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.records import Evaluation, Record
from pipeline.run_folder import append_json_line, read_json_lines, write_json
from pipeline.search.cost import KeepCounts
from pipeline.search.env import PruneEnv
from pipeline.search.pruner import Pruner
from pipeline.search.whole_plans import ChannelTask, channel_task, play_until_settled, scaled_within
from pipeline.search_section import SearchSection
from pipeline.section import Section, validate_section

ACTIONS = ("around_target",)
STATE = "simple"
WHOLE_PLANS = True
ASKS_OFTEN = True
PLAYED = 3
"""How often the plan is played at most: again where measuring corrected the table."""


PER_ROUND = 2
"""Judgements that a later round is expected to take."""
ABLE = 5
"""Groups that can make the cut of a round alone, at least."""
Harm = tuple[float, float]
"""By how much top-1 falls, and the loss rises."""
NOTHING: Harm = (-math.inf, -math.inf)
"""Of a group that was not judged yet: it comes first."""


class Options(Section):
    """It has none."""


class Judged(Record):
    """A line of `proposals.jsonl`: so that a search that was interrupted judges nothing twice."""

    kept: dict[str, int]
    evaluation: Evaluation


@dataclass
class Judge:
    """Judges whole plans, and counts them."""

    pruner: Pruner
    path: Path
    asked: set[frozenset[tuple[str, int]]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._known = {frozenset(line.kept.items()): line.evaluation for line in read_json_lines(Judged, self.path)}

    def __call__(self, kept: Mapping[str, int]) -> Evaluation:
        key = frozenset(kept.items())
        self.asked.add(key)
        if key not in self._known:
            self._known[key] = self.pruner.finish(kept)
            append_json_line(self.path, Judged(kept=dict(kept), evaluation=self._known[key]))
        return self._known[key]


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Judge `settings.episodes` proposals at most, then play the plan that they led to.

    `evaluations.json` in the folder says how many were judged: they are no episodes, and none of them was measured.

    Raises:
        ConfigError: an option that the agent does not have, or a latency source that cannot be asked so often.
    """
    validate_section(Options, settings.options, "search.options of greedy")
    task = channel_task(env)
    judge = Judge(env.task.pruner, folder / "proposals.jsonl")
    plan = _cut(task, judge, settings.episodes)
    write_json(folder / "evaluations.json", {"evaluations": len(judge.asked)})
    play_until_settled(env, lambda: scaled_within(task.grid, task.cost, plan), PLAYED)


def _cut(task: ChannelTask, judge: Judge, most: int) -> dict[str, int]:
    """The plan after as many rounds as meet the aim, or as `most` judgements pay for."""
    plan = {name: counts[-1] for name, counts in task.grid.items()}
    now, spent = judge(plan), 1
    harm: dict[str, Harm] = {}  # of each group's proposal, when it was judged last
    while spent < most and (cost := task.cost(plan)) > 1.0:
        rounds = max(1, (most - spent - (len(plan) - len(harm))) // PER_ROUND)
        proposals = _proposals(task, plan, cost, cost ** (1.0 - 1.0 / rounds))
        judged: dict[str, Evaluation] = {}
        for name in sorted(proposals, key=lambda name: harm.get(name, NOTHING)):
            if spent == most or (judged and min(harm[one] for one in judged) <= harm.get(name, NOTHING)):
                break
            spent += 1
            judged[name] = judge(plan | {name: proposals[name]})
            harm[name] = now.top1 - judged[name].top1, judged[name].loss - now.loss
        if not judged:
            break
        best = min(judged, key=harm.__getitem__)
        plan[best], now = proposals[best], judged[best]
    return plan


def _proposals(task: ChannelTask, plan: KeepCounts, cost: float, wanted: float) -> dict[str, int]:
    """For each group that can bring the cost to `wanted` alone, the largest count that does.

    Where fewer than `ABLE` can, the cut is the largest that so many can make.
    """
    smallest = {name: task.cost({**plan, name: counts[0]}) for name, counts in task.grid.items()}
    able = sorted(reached for reached in smallest.values() if reached < cost)
    if not able:
        return {}
    wanted = max(wanted, able[min(ABLE, len(able)) - 1])
    return {
        name: next(
            count
            for count in reversed(task.grid[name])
            if count < plan[name] and task.cost({**plan, name: count}) <= wanted
        )
        for name, reached in smallest.items()
        if reached <= wanted
    }
