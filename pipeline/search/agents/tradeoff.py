"""Our own agent: it prunes where a millisecond costs the least loss, and learns how far its estimate of that is off.

1. What a group loses at each channel count is estimated from Fisher importance, which adds up over groups
   (`pipeline/pruning/gates.py`); what it saves is read from the device's table. The plan that loses the least within
   the target is a knapsack's (`pipeline/search/knapsack.py`).
2. The estimate is made before anything recovers. So a linear policy corrects it: a group's loss is raised to a common
   power and multiplied by exp(w . features), the features being facts of the group and of the device. The policy's few
   weights are learned by augmented random search (Mania et al. 2018, algorithm 1, V1-t): nearby policies are tried in
   pairs, each gives a plan, the plan is recovered, judged and measured like any other, and the weights move towards
   those that were paid better. It starts at the uncorrected knapsack, and every plan meets the target.
3. Each decision can be told: what the next step would save and lose, and which feature raised or lowered its worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.explanations import Explanation, in_words
from pipeline.pruning.channels import strongest
from pipeline.run_folder import append_json_line, write_json
from pipeline.search.env import PruneEnv
from pipeline.search.knapsack import Values, knapsack_plan
from pipeline.search.whole_plans import ChannelTask, channel_task
from pipeline.search_section import SearchSection
from pipeline.section import Positive, PositiveInt, Section, validate_section

ACTIONS = ("around_target",)
STATE = "simple"
WHOLE_PLANS = True
ASKS_OFTEN = True
POWER = "power"
"""The first weight: of the common power's logarithm."""
COST_WORDS = {"latency": "latency", "macs": "multiply-accumulates"}
Weights = NDArray[np.float64]


class Options(Section):
    directions: PositiveInt = 4
    """Directions that are tried, both ways, before the weights move."""
    best: PositiveInt = 2
    """Of these, those that were paid best decide where to."""
    step: Positive = 0.4
    noise: Positive = 0.4
    """How far from the present policy others are tried."""
    power: Annotated[float, Field(gt=0.0, le=2.0)] = 0.7
    """Of the estimated losses, before anything is learned."""


@dataclass(frozen=True)
class Policy:
    """Turns weights into plans."""

    task: ChannelTask
    lost: Values
    """Fisher importance that each group loses, by ascending count, as a share of all there is."""
    features: Mapping[str, NDArray[np.float64]]
    """Standardised over the groups."""
    names: Sequence[str]
    power: float

    def plan(self, weights: Weights) -> dict[str, int]:
        return knapsack_plan(self.worth(weights), self.task.cost)

    def worth(self, weights: Weights) -> Values:
        """Minus the corrected loss of each group at each count: what the knapsack keeps as much of as it can."""
        power = self.power * math.exp(weights[0])
        return {
            name: {count: -math.exp(self.features[name] @ weights[1:]) * loss**power for count, loss in losses.items()}
            for name, losses in self.lost.items()
        }


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Play `settings.episodes` plans, then the learned policy's, and explain that one.

    Raises:
        ConfigError: an option that the agent does not have, or a latency source that cannot be asked so often.
    """
    options = validate_section(Options, settings.options, "search.options of tradeoff")
    policy = make_policy(channel_task(env), options.power)
    rewards = _Rewards(env, policy, settings.episodes)
    weights: Weights = np.zeros(1 + len(policy.names))
    rewards.of(weights)
    rng = np.random.default_rng(seed)
    learning = folder / "learning.jsonl"
    learning.unlink(missing_ok=True)  # a search that is played again writes it again
    for _ in range(settings.episodes):
        pairs = min(options.directions, rewards.left // 2)
        if not pairs:
            break
        directions = rng.standard_normal((pairs, len(weights)))
        paid = np.array([[rewards.of(weights + s * options.noise * d) for s in (1, -1)] for d in directions])
        weights = weights + options.step * update(directions, paid, options.best)
        append_json_line(learning, {"episodes": len(env.log.episodes), "weights": weights.tolist()})
    plan = policy.plan(weights)
    env.play_plan(plan, "greedy")
    write_json(folder / "policy.json", dict(zip((POWER, *policy.names), weights.tolist(), strict=True)))
    what = "cost" if settings.reward.energy else COST_WORDS[settings.target.cost]
    write_json(folder / "explanations.json", explain(policy, weights, plan, what))


class _Rewards:
    """What policies are paid; one whose plan was played before is paid the same again, and costs no episode."""

    def __init__(self, env: PruneEnv, policy: Policy, episodes: int) -> None:
        self.left = episodes
        self._env, self._policy = env, policy
        self._known: dict[frozenset[tuple[str, int]], float] = {}

    def of(self, weights: Weights) -> float:
        plan = self._policy.plan(weights)
        key = frozenset(plan.items())
        if key not in self._known:
            self.left -= 1
            self._known[key] = self._env.play_plan(plan, "explore").steps[-1].reward
        return self._known[key]


def update(directions: NDArray[np.float64], paid: NDArray[np.float64], best: int) -> Weights:
    """Where the weights move to: directions by what both ways were paid, over the deviation of all that was paid.

    Args:
        directions: (n, weights).
        paid: (n, 2), rewards forward and backward.
    """
    order = np.argsort(-paid.max(axis=1), kind="stable")[:best]
    spread = float(paid[order].std())
    if spread == 0.0:
        return np.zeros(directions.shape[1])
    moved: Weights = (paid[order, 0] - paid[order, 1]) @ directions[order] / (len(order) * spread)
    return moved


def make_policy(task: ChannelTask, power: float) -> Policy:
    """The estimates and the groups' features; every group's features are known before anything is pruned."""
    subject, grid = task.subject, task.grid
    fisher = subject.scores_by("fisher")
    total = sum(float(scores.sum()) for scores in fisher.values())
    lost: dict[str, dict[int, float]] = {}
    for name, counts in grid.items():
        kept = {count: float(fisher[name][list(strongest(subject.scores[name], count))].sum()) for count in counts}
        lost[name] = {count: max(float(fisher[name].sum()) - kept[count], 0.0) / total for count in counts}
    raw = _raw_features(task, fisher)
    values = np.array(list(raw.values()))  # (features, groups)
    spread = values.std(axis=1, keepdims=True)
    scaled = (values - values.mean(axis=1, keepdims=True)) / np.where(spread > 1e-12, spread, 1.0)
    return Policy(task, lost, dict(zip(grid, scaled.T, strict=True)), tuple(raw), power)


def _raw_features(task: ChannelTask, fisher: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    """By feature, of every group in the order of the grid."""
    alone, dense = task.subject.losses_alone(), task.cost({})
    names = list(task.grid)
    return {
        "ms_per_channel": [
            math.log(max(dense - task.cost({name: task.grid[name][0]}), 1e-9) / task.grid[name][-1]) for name in names
        ],
        "lost_alone": [math.log(max(alone[name], 1e-4)) for name in names],
        "channels": [math.log(task.grid[name][-1]) for name in names],
        "depth": [number / len(names) for number in range(len(names))],
        "evenness": [_evenness(fisher[name]) for name in names],
    }


def _evenness(scores: NDArray[np.float64]) -> float:
    """1 where all channels matter alike, near 0 where a few hold all importance: exp(entropy) over their number."""
    shares = scores / scores.sum()
    shares = shares[shares > 0.0]
    return float(np.exp(-(shares * np.log(shares)).sum()) / len(scores))


def explain(policy: Policy, weights: Weights, plan: Mapping[str, int], what: str) -> list[Explanation]:
    """Why each group was left with what it has: what its next step would save and lose, what the policy made of it.

    Args:
        what: the cost's name in a sentence.
    """
    task, before, here = policy.task, policy.plan(np.zeros_like(weights)), policy.task.cost(plan)
    explanations = []
    for name, counts in task.grid.items():
        contributions = dict(zip(policy.names, (policy.features[name] * weights[1:]).tolist(), strict=True))
        below = [count for count in counts if count < plan[name]]
        kept, whole = plan[name], counts[-1]
        text = f"kept whole, {whole} channels" if kept == whole else f"pruned to {kept} of {whole} channels"
        if below:
            saved = 1.0 - task.cost({**plan, name: below[-1]}) / here
            cost = policy.lost[name][below[-1]] - policy.lost[name][kept]
            text += f": the next step, to {below[-1]}, would save {saved:.2%} of the {what}"
            text += f" and lose {cost:.2%} of all importance"
        explanations.append(
            Explanation(
                site=name,
                asked=kept / whole,
                kept=kept / whole,
                usual=before[name] / whole,
                unit="worth",
                contributions=contributions,
                text=f"{text}; {in_words(contributions)}",
            )
        )
    return explanations
