"""The pruning environment: an episode walks the prunable groups once, a step prunes one of them.

It only puts parts together: the judge says how accurate the masked network is, the latency source what it costs, the
reward what that is worth, the state what the agent sees. Episodes that were already logged are answered from the log,
so a seeded agent that runs again ends where it was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from pipeline.config import RewardSection
from pipeline.errors import SearchError
from pipeline.pruning.channels import Scores, strongest
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import Episode, EpisodeKind, EpisodeStep, Evaluation
from pipeline.search import rewards
from pipeline.search.episodes import EpisodeLog
from pipeline.search.features import STATES, Progress, State
from pipeline.search.judge import PrefixJudge
from pipeline.search.latency import AIM, LatencyAnswer, LatencySource


@dataclass(frozen=True)
class PruningTask:
    """What is searched: the groups, the channel counts offered for each, and how a plan is judged and paid."""

    groups: Sequence[ChannelGroup]
    keep_choices: Mapping[str, Sequence[int]]
    """Channel counts by action number; every group offers equally many."""
    scores: Scores
    judge: PrefixJudge
    fit: Callable[[Mapping[str, int]], dict[str, int]]
    """Brings a whole plan to the target latency; what is evaluated, measured and kept is the plan that it returns."""
    evaluate: Callable[[Mapping[str, int]], Evaluation]
    """Recover and evaluate a whole plan, the full way."""
    latency: LatencySource
    accuracy_target: float
    reward: RewardSection
    state: str

    @property
    def n_actions(self) -> int:
        return len(next(iter(self.keep_choices.values())))


@dataclass
class Walk:
    """The episode under way."""

    kind: EpisodeKind
    recorded: Episode | None
    keep_counts: dict[str, int] = field(default_factory=dict)
    steps: list[EpisodeStep] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"evaluation": 0.0, "latency": 0.0, "own": 0.0})

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - started


class PruneEnv(gym.Env[State, np.int64]):
    """Gymnasium environment; `kind` says how the next episodes are logged."""

    def __init__(self, task: PruningTask, log: EpisodeLog, seed: int) -> None:
        self.task = task
        self.log = log
        self.kind: EpisodeKind = "explore"
        self._seed = seed
        self._walk: Walk | None = None
        self._returned_at = 0.0
        self.observation_space = gym.spaces.Box(-1.0, 1.0, shape=self._state([]).shape, dtype=np.float32)
        self.action_space = gym.spaces.Discrete(task.n_actions)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[State, dict[str, Any]]:
        super().reset(seed=seed)
        self._walk = Walk(self.kind, self.log.recorded())
        if self._walk.recorded is None:
            self.task.judge.begin()
        self._returned_at = time.perf_counter()
        return self._state([]), {}

    def step(self, action: np.int64 | int) -> tuple[State, float, bool, bool, dict[str, Any]]:
        walk, groups = self._walk, self.task.groups
        if walk is None:
            raise SearchError("the episode is over: call reset() before step()")
        started = time.perf_counter()
        elsewhere = walk.seconds["evaluation"] + walk.seconds["latency"]
        number = len(walk.steps)
        group = groups[number]
        kept = int(self.task.keep_choices[group.name][int(action)])
        walk.keep_counts[group.name] = kept
        last = number + 1 == len(groups)
        if walk.recorded is None:
            evaluation, latency = self._perform(walk, group, last=last)
        else:
            evaluation, latency = self._recall(walk, walk.recorded, number, int(action), last=last)
        step = self._record(group, int(action), kept, evaluation, latency, last=last)
        walk.steps.append(step)
        state = self._state(walk.steps)
        now = time.perf_counter()
        elsewhere = walk.seconds["evaluation"] + walk.seconds["latency"] - elsewhere
        walk.seconds["own"] += (started - self._returned_at) + (now - started - elsewhere)
        if last:
            self._finish(walk)
        self._returned_at = time.perf_counter()
        return state, step.reward, last, False, {}

    def play(self, actions: Sequence[int], kind: EpisodeKind) -> Episode:
        """Walk one whole episode with these actions, and return it as it was logged."""
        before, self.kind = self.kind, kind
        self.reset()
        for action in actions:
            self.step(action)
        self.kind = before
        return self.log.last

    def _perform(self, walk: Walk, group: ChannelGroup, *, last: bool) -> tuple[Evaluation, LatencyAnswer]:
        source = self.task.latency
        kept = strongest(self.task.scores[group.name], walk.keep_counts[group.name])
        gone = np.setdiff1d(np.arange(group.channels), kept)
        if last:
            walk.keep_counts = self.task.fit(walk.keep_counts)
        with walk.timed("evaluation"):
            evaluation = self.task.evaluate(walk.keep_counts) if last else self.task.judge.prune(gone)
        with walk.timed("latency"):
            latency = source.end(walk.keep_counts) if last else source.step(walk.keep_counts)
        return evaluation, latency

    def _recall(
        self, walk: Walk, recorded: Episode, number: int, action: int, *, last: bool
    ) -> tuple[Evaluation, LatencyAnswer]:
        step = recorded.steps[number]
        if (step.action, step.kept) != (action, walk.keep_counts.get(step.group)):
            raise SearchError(
                f"episode {recorded.index}, step {number}: the log has action {step.action} on {step.group}, the agent "
                f"now takes action {action}; the search cannot be resumed: start it again with --fresh"
            )
        latency = LatencyAnswer(
            latency_ms=step.latency_ms,
            dense_ms=step.dense_latency_ms,
            target_ratio=step.target_ratio,
            source=step.latency_source,
            energy=step.energy,
        )
        if last:
            walk.keep_counts = dict(recorded.plan)
            self.task.latency.recall(walk.keep_counts, step.latency_source)
        return step.evaluation, latency

    def _record(
        self, group: ChannelGroup, action: int, kept: int, evaluation: Evaluation, latency: LatencyAnswer, *, last: bool
    ) -> EpisodeStep:
        reward = self._reward(evaluation, latency)
        return EpisodeStep(
            group=group.name,
            action=action,
            kept=kept,
            evaluation=evaluation,
            latency_ms=latency.latency_ms,
            dense_latency_ms=latency.dense_ms,
            target_ratio=latency.target_ratio,
            latency_source=latency.source,
            energy=latency.energy,
            reward=reward if last or self.task.reward.dense else 0.0,
        )

    def _reward(self, evaluation: Evaluation, latency: LatencyAnswer) -> float:
        energy, section = latency.energy, self.task.reward
        if energy is None:
            return rewards.latency(
                evaluation.top1,
                latency.ratio,
                accuracy_target=self.task.accuracy_target,
                latency_target=latency.aim_ratio,
                scale=section.scale,
            )
        return rewards.latency_and_energy(
            evaluation.top1,
            latency.ratio,
            energy.ratio,
            accuracy_target=self.task.accuracy_target,
            latency_target=latency.aim_ratio,
            energy_target=AIM * energy.target_ratio,
            energy_share=energy.share,
            scale=section.scale,
        )

    def _finish(self, walk: Walk) -> None:
        self._walk = None
        end = walk.steps[-1]
        self.log.advance(
            lambda index: Episode(
                index=index,
                seed=self._seed,
                kind=walk.kind,
                steps=tuple(walk.steps),
                plan=walk.keep_counts,
                evaluation=end.evaluation,
                latency_ms=end.latency_ms,
                dense_latency_ms=end.dense_latency_ms,
                latency_source=end.latency_source,
                reward=sum(step.reward for step in walk.steps),
                seconds=walk.seconds,
            )
        )

    def _state(self, steps: Sequence[EpisodeStep]) -> State:
        channels = {group.name: group.channels for group in self.task.groups}
        progress = Progress(
            n_groups=len(channels),
            accuracy=[step.evaluation.top1 for step in steps],
            latency_saved=[1.0 - step.latency_ms / step.dense_latency_ms for step in steps],
            channels_pruned=[1.0 - step.kept / channels[step.group] for step in steps],
        )
        return STATES[self.task.state](progress)
