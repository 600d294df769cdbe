"""The pruning environment: an episode walks the network once, a step prunes one channel group or one layer's weights.

It only puts parts together: the actions say how much, the pruner does it and says how accurate the network is, the cost
source what it costs, the reward what that is worth, the state what the agent sees. Episodes that were already logged
are answered from the log, so a seeded agent that runs again ends where it was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from pipeline.errors import SearchError
from pipeline.records import Episode, EpisodeKind, EpisodeStep, Evaluation
from pipeline.search.actions import Action, Actions
from pipeline.search.cost import CostAnswer, CostSource
from pipeline.search.episodes import EpisodeLog
from pipeline.search.features import STATES, Progress, State
from pipeline.search.pruner import Pruner, Site
from pipeline.search.rewards import Reward
from pipeline.search.sites import SiteFacts
from pipeline.search.uniform import KeepGrid
from pipeline.subject import Subject


@dataclass(frozen=True)
class PruningTask:
    """What is searched: the sites, how much of each may go, and how a plan is judged and paid."""

    sites: Sequence[Site]
    actions: Actions
    pruner: Pruner
    cost: CostSource
    macs: Callable[[Mapping[str, int]], int]
    """Multiply-accumulates of one image."""
    reward: Reward
    dense_reward: bool
    """Whether every step is paid, or the last one alone."""
    state: str
    facts: Sequence[SiteFacts]
    judges_steps: bool = True
    """Whether anybody asks how accurate the network is after a step: the reward, the state or `stop_below`."""
    fit: Callable[[Mapping[str, int]], dict[str, int]] = dict
    """Brings a whole plan to the target; what is evaluated, measured and kept is the plan that it returns."""
    stop_below: float = 0.0
    """Accuracy below which an episode is given up."""
    grid: KeepGrid | None = None
    """Channel counts that are worth offering, and the subject: what an agent that makes whole plans reads."""
    subject: Subject | None = None


@dataclass
class Walk:
    """The episode under way."""

    kind: EpisodeKind
    recorded: Episode | None
    kept: dict[str, int] = field(default_factory=dict)
    steps: list[EpisodeStep] = field(default_factory=list)
    macs: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"evaluation": 0.0, "latency": 0.0, "own": 0.0})

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - started


class PruneEnv(gym.Env[State, Any]):
    """Gymnasium environment; `kind` says how the next episodes are logged."""

    def __init__(self, task: PruningTask, log: EpisodeLog, seed: int) -> None:
        self.task = task
        self.log = log
        self.kind: EpisodeKind = "explore"
        self._seed = seed
        self._walk: Walk | None = None
        self._returned_at = 0.0
        self._dense_macs = task.macs({})
        self._judge_steps = task.judges_steps
        self.observation_space = gym.spaces.Box(-1.0, 1.0, shape=self._state(None).shape, dtype=np.float32)
        self.action_space = task.actions.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[State, dict[str, Any]]:
        super().reset(seed=seed)
        self._walk = Walk(self.kind, self.log.recorded())
        if self._walk.recorded is None:
            self.task.pruner.begin(len(self.log.episodes))
        self._returned_at = time.perf_counter()
        return self._state(self._walk), {}

    def step(self, action: Any) -> tuple[State, float, bool, bool, dict[str, Any]]:
        walk = self._open_walk()
        read, number = self.task.actions.read(action), len(walk.steps)
        amount = self.task.actions.amount(number, read, walk.kept)
        return self._advance(walk, read, lambda: self.task.pruner.kept_by(number, amount))

    def play(self, actions: Sequence[Any], kind: EpisodeKind) -> Episode:
        """Walk one whole episode with these actions, and return it as it was logged."""

        def stepper(action: Any) -> Callable[[Walk], Any]:
            return lambda walk: self.step(action)

        return self._play(kind, [stepper(action) for action in actions])

    def play_amounts(self, amounts: Sequence[float], kind: EpisodeKind) -> Episode:
        """Walk one whole episode with amounts that no action need have."""

        def stepper(number: int, amount: float) -> Callable[[Walk], Any]:
            return lambda walk: self._advance(walk, None, lambda: self.task.pruner.kept_by(number, amount))

        return self._play(kind, [stepper(number, amount) for number, amount in enumerate(amounts)])

    def play_plan(self, kept: Mapping[str, int], kind: EpisodeKind, *, judge_steps: bool = False) -> Episode:
        """Walk one whole episode that keeps exactly this much of each site.

        Args:
            judge_steps: judge and pay every step as in an agent's episode; else only the whole plan, where the pruner
                can, which is much faster.
        """

        def stepper(count: int) -> Callable[[Walk], Any]:
            return lambda walk: self._advance(walk, None, lambda: count, exact=True)

        before, self._judge_steps = self._judge_steps, judge_steps or not self.task.pruner.judges_whole_plans
        episode = self._play(kind, [stepper(kept[site.name]) for site in self.task.sites])
        self._judge_steps = before
        return episode

    def _play(self, kind: EpisodeKind, steps: Sequence[Callable[[Walk], Any]]) -> Episode:
        before, self.kind = self.kind, kind
        self.reset()
        for step in steps:
            if self._walk is not None:  # else it was given up
                step(self._walk)
        self.kind = before
        return self.log.last

    def _open_walk(self) -> Walk:
        if self._walk is None:
            raise SearchError("the episode is over: call reset() before step()")
        return self._walk

    def _advance(
        self, walk: Walk, action: Action | None, kept_by: Callable[[], int], *, exact: bool = False
    ) -> tuple[State, float, bool, bool, dict[str, Any]]:
        started = time.perf_counter()
        elsewhere = walk.seconds["evaluation"] + walk.seconds["latency"]
        number, last = len(walk.steps), len(walk.steps) + 1 == len(self.task.sites)
        if walk.recorded is None:
            kept = kept_by()
            walk.kept[self.task.sites[number].name] = kept
            evaluation, cost = self._perform(walk, number, last=last, exact=exact)
        else:
            kept, evaluation, cost = self._recall(walk, walk.recorded, number, action, last=last)
        walk.macs.append(self.task.macs(walk.kept))
        stopped = not last and evaluation is not None and evaluation.top1 < self.task.stop_below
        step = self._record(walk, action, kept, evaluation, cost, last=last, stopped=stopped)
        walk.steps.append(step)
        state = self._state(walk)
        now = time.perf_counter()
        elsewhere = walk.seconds["evaluation"] + walk.seconds["latency"] - elsewhere
        walk.seconds["own"] += (started - self._returned_at) + (now - started - elsewhere)
        if last or stopped:
            self._finish(walk, stopped=stopped)
        self._returned_at = time.perf_counter()
        return state, step.reward, last or stopped, False, {}

    def _perform(self, walk: Walk, number: int, *, last: bool, exact: bool) -> tuple[Evaluation | None, CostAnswer]:
        task = self.task
        if last and not exact:
            walk.kept = task.fit(walk.kept)
        with walk.timed("evaluation"):
            if last:
                evaluation: Evaluation | None = task.pruner.finish(walk.kept)
            elif self._judge_steps:
                evaluation = task.pruner.prune(number, walk.kept[task.sites[number].name])
            else:
                evaluation = None
        with walk.timed("latency"):
            cost = task.cost.end(walk.kept) if last else task.cost.step(walk.kept)
        return evaluation, cost

    def _recall(
        self, walk: Walk, recorded: Episode, number: int, action: Action | None, *, last: bool
    ) -> tuple[int, Evaluation | None, CostAnswer]:
        step = recorded.steps[number]
        if step.action != action:
            raise SearchError(
                f"episode {recorded.index}, step {number}: the log has action {step.action} on {step.group}, the agent "
                f"now takes action {action}; the search cannot be resumed: start it again with --fresh"
            )
        cost = CostAnswer(
            cost=step.cost,
            ratio=step.cost_ratio,
            target_ratio=step.target_ratio,
            latency_ms=step.latency_ms,
            dense_ms=step.dense_latency_ms,
            source=step.latency_source,
            energy=step.energy,
        )
        walk.kept[step.group] = step.kept
        if last:
            walk.kept = dict(recorded.plan)
            self.task.cost.recall(walk.kept, step.latency_source)
        return step.kept, step.evaluation, cost

    def _record(
        self,
        walk: Walk,
        action: Action | None,
        kept: int,
        evaluation: Evaluation | None,
        cost: CostAnswer,
        *,
        last: bool,
        stopped: bool,
    ) -> EpisodeStep:
        number = len(walk.steps)
        reward = 0.0
        if evaluation is not None and (last or stopped or self.task.dense_reward):
            reward = self.task.reward(evaluation.top1, cost, walk.macs[-1])
        if stopped and self.task.dense_reward and reward < 0.0:
            # To be given up early must not be worth more than to go on, so the steps that are left out are paid like
            # this one where that is a loss. (PuRL 4.3 stops episodes and does not say how they are paid.)
            reward *= len(self.task.sites) - number
        return EpisodeStep(
            group=self.task.sites[number].name,
            action=action,
            kept=kept,
            evaluation=evaluation,
            cost=cost.cost,
            cost_ratio=cost.ratio,
            target_ratio=cost.target_ratio,
            latency_ms=cost.latency_ms,
            dense_latency_ms=cost.dense_ms,
            latency_source=cost.source,
            energy=cost.energy,
            reward=reward,
        )

    def _finish(self, walk: Walk, *, stopped: bool) -> None:
        self._walk = None
        end = walk.steps[-1]
        limit = self.task.stop_below
        failure = None
        if stopped and end.evaluation is not None:
            failure = f"given up after {end.group}: top-1 {end.evaluation.top1:.2%}, below {limit:.2%}"
        self.log.advance(
            lambda index: Episode(
                index=index,
                seed=self._seed,
                kind=walk.kind,
                steps=tuple(walk.steps),
                plan=walk.kept,
                evaluation=end.evaluation,
                latency_ms=end.latency_ms,
                dense_latency_ms=end.dense_latency_ms,
                latency_source=end.latency_source,
                reward=sum(step.reward for step in walk.steps),
                failure=failure,
                seconds=walk.seconds,
            )
        )

    def _state(self, walk: Walk | None) -> State:
        steps: Sequence[EpisodeStep] = walk.steps if walk else ()
        macs: Sequence[int] = walk.macs if walk else ()
        sizes = {site.name: site.size for site in self.task.sites}
        progress = Progress(
            n_sites=len(sizes),
            accuracy=[step.evaluation.top1 if step.evaluation else 0.0 for step in steps],
            saved=[1.0 - step.cost_ratio for step in steps],
            pruned=[1.0 - step.kept / sizes[step.group] for step in steps],
            facts=self.task.facts,
            macs_reduced=[1.0 - after / self._dense_macs for after in macs],
        )
        return STATES[self.task.state](progress)
