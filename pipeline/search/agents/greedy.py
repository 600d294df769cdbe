"""Control in the manner of NetAdapt (Yang et al. 2018): round by round the cut in latency that costs least accuracy.

A round must cut the cost to a share of what it was. For each group the largest count that alone does so, by the table,
is a proposal; each is judged after the recovery that the search's `recover` says (its short-term fine-tuning), and the
most accurate one is kept (algorithm 1). Departures: NetAdapt judges a proposal of every group in every round, hundreds
for a network; here `search.episodes` bounds them. So a round judges some of the groups, those first that have waited
longest; how much it cuts follows from the rounds that can be paid for, and is less where too few groups could do it
alone; what is left to cut when all are spent is cut from all groups in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import PositiveInt, SearchSection, Section, validate_section
from pipeline.records import Evaluation, Record
from pipeline.run_folder import append_json_line, read_json_lines, write_json
from pipeline.search.cost import KeepCounts
from pipeline.search.env import PruneEnv
from pipeline.search.pruner import Pruner
from pipeline.search.whole_plans import ChannelTask, channel_task, play_until_settled, scaled_within

ACTIONS = ("around_target",)
STATE = "simple"
PLAYED = 3
"""How often the plan is played at most: again where measuring corrected the table."""


class Options(Section):
    proposals: PositiveInt = 5
    """Groups that are compared in one round, if there are as many; NetAdapt compares all."""


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
    options = validate_section(Options, settings.options, "search.options of greedy")
    task = channel_task(env, settings)
    judge = Judge(env.task.pruner, folder / "proposals.jsonl")
    plan = _cut(task, judge, options.proposals, settings.episodes)
    write_json(folder / "evaluations.json", {"evaluations": len(judge.asked)})
    play_until_settled(env, lambda: scaled_within(task.grid, task.cost, plan), PLAYED)


def _cut(task: ChannelTask, judge: Judge, compared: int, most: int) -> dict[str, int]:
    """The plan after as many rounds as meet the aim, or as `most` judgements pay for."""
    plan = {name: counts[-1] for name, counts in task.grid.items()}
    turn = dict.fromkeys(task.grid, 0)
    """The judgement after which each group was judged last."""
    spent = 0
    while spent < most and (cost := task.cost(plan)) > 1.0:
        rounds = max(1, (most - spent) // compared)
        proposals = _proposals(task, plan, cost, cost ** (1.0 - 1.0 / rounds), compared)
        judged: dict[str, Evaluation] = {}
        for name in sorted(proposals, key=turn.__getitem__)[: min(compared, most - spent)]:
            spent += 1
            turn[name] = spent
            judged[name] = judge(plan | {name: proposals[name]})
        if not judged:
            break
        best = max(judged, key=lambda name: (judged[name].top1, -judged[name].loss))
        plan[best] = proposals[best]
    return plan


def _proposals(task: ChannelTask, plan: KeepCounts, cost: float, wanted: float, compared: int) -> dict[str, int]:
    """For each group that can bring the cost to `wanted` alone, the largest count that does.

    Where fewer than `compared` can, the cut is the largest that so many can make.
    """
    smallest = {name: task.cost({**plan, name: counts[0]}) for name, counts in task.grid.items()}
    able = sorted(reached for reached in smallest.values() if reached < cost)
    if not able:
        return {}
    wanted = max(wanted, able[min(compared, len(able)) - 1])
    return {
        name: next(
            count
            for count in reversed(task.grid[name])
            if count < plan[name] and task.cost({**plan, name: count}) <= wanted
        )
        for name, reached in smallest.items()
        if reached <= wanted
    }
