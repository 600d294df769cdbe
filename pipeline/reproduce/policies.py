"""The explainable poster's policies (000_accc842e532b0134): a linear actor, with and without L1, against a deep one.

All see the same nine features, are paid the accuracy at the end of an episode, and choose shares that keep the budget
within reach. What is compared: rewards by episode, what the best plan is worth when it is fine-tuned, and how stable
the importance of the features is from one episode to the next.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import FinetuneSection, PruningSection
from pipeline.reproduce.context import Context
from pipeline.reproduce.network import NetworkSettings
from pipeline.reproduce.table import FinishedCell
from pipeline.search_section import RecoverSection, RewardSection, SearchSection, TargetSection
from pipeline.section import OpenShare, PositiveInt, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.records import Episode
    from pipeline.subject import Subject

LINEAR, PLAIN, MLP = "linear, L1", "linear", "MLP"
OPTIONS: Mapping[str, dict[str, Any]] = {LINEAR: {}, PLAIN: {"l1": 0.0}, MLP: {"actor": "mlp"}}
"""`search.options` of the agent `explainable`; 0.1 is its own L1."""
TONES = {LINEAR: "#0072b2", PLAIN: "#56b4e9", MLP: "#d55e00"}
WINDOW = 10
"""Episodes of a running mean."""
ROUNDING = 1e-9
"""Means of equal rewards differ by less."""


class Policies(Section):
    network: NetworkSettings
    macs: OpenShare = 0.5
    """Share of the dense multiply-accumulates that is left."""
    round_to: PositiveInt = 4
    episodes: PositiveInt
    recover: RecoverSection
    finetune: FinetuneSection


def run(settings: Policies, policy: str, seed: int, context: Context[Any]) -> dict[str, Any]:
    from pipeline.pruning.channels import make_plan
    from pipeline.search.finalists import shortlist

    config = settings.network.config(
        seed,
        pruning=PruningSection(importance="l1", round_to=settings.round_to),
        search=SearchSection(
            agent="explainable",
            episodes=settings.episodes,
            reward=RewardSection(name="amc", dense=False),
            target=TargetSection(macs=settings.macs),
            recover=settings.recover,
            actions="bounded",
            options=OPTIONS[policy],
        ),
        finetune=settings.finetune,
    )
    subject = context.subject(config)
    episodes = _search(subject, context)
    best = shortlist(episodes, 1)[0]
    slim = subject.slim(make_plan(subject.architecture, subject.groups, best.plan, subject.scores, {}))
    subject.fit(slim, settings.finetune, checkpoint=context.folder / "finetuned.pt")
    return {
        "dense_top1": subject.evaluate(subject.network, subject.data.test).top1,
        "top1": subject.evaluate(slim, subject.data.test).top1,
        "macs": best.cost_ratio,
        "best_reward": best.steps[-1].reward,
        "greedy_reward": episodes[-1].steps[-1].reward,
        "mean_reward": statistics.fmean(episode.steps[-1].reward for episode in episodes[:-1]),
        "rewards": [episode.steps[-1].reward for episode in episodes],
        "search_s": sum(sum(episode.seconds.values()) for episode in episodes),
        "plan": best.plan,
        **_learned(context),
    }


def _search(subject: Subject, context: Context[Any]) -> list[Episode]:
    from pipeline.search import agents
    from pipeline.search.env import PruneEnv
    from pipeline.search.episodes import EpisodeLog, in_words
    from pipeline.search.recovery import Recovery
    from pipeline.search.task import cost_source, keep_grid, make_task, uniform_at

    config = subject.config
    source, grid = cost_source(subject, (), ()), keep_grid(subject, ())
    share, _ = uniform_at(source, grid, config)
    task = make_task(subject, source, grid, share, Recovery(subject))

    def show(episode: Episode) -> None:
        context.progress.update(in_words(episode), episode.index + 1, config.search.episodes + 1)

    log = EpisodeLog(context.folder / "episodes.jsonl", show)
    env = PruneEnv(task, log, config.seed)
    agents.find(config.search.agent)(env, config.search, config.seed, context.folder)
    return log.episodes


def _learned(context: Context[Any]) -> dict[str, Any]:
    """Importance of each feature after each episode that taught the actor, its stability, and the explanations."""
    from pipeline.run_folder import read_json_lines
    from pipeline.search.agents.explainable import LearningLine
    from pipeline.search.explain import stability

    lines = read_json_lines(LearningLine, context.folder / "learning.jsonl")
    importances = [line.importance for line in lines if line.importance is not None and line.noise is not None]
    stable = stability(importances)
    found: dict[str, Any] = {
        "importances": importances,
        "stability": stable.overall if stable else None,
        "features": stable.features if stable else None,
        "successive": stable.successive if stable else None,
    }
    told = context.folder / "explanations.json"
    if told.exists():
        return {**found, "explanations": json.loads(told.read_text()), "missing": dict.fromkeys(found, "no importance")}
    return {**found, "missing": dict.fromkeys(found, "a deep actor has no weights by feature")}


def findings(finished: Sequence[FinishedCell]) -> list[str]:
    curves = {policy: mean_rewards(policy, finished) for policy in OPTIONS}
    sentences = [
        _speed(policy, curves[policy], curves[MLP], finished)
        for policy in (LINEAR, PLAIN)
        if curves[policy] and curves[MLP]
    ]
    with_l1, without = (_mean(finished, policy, "stability") for policy in (LINEAR, PLAIN))
    if with_l1 is not None and without is not None:
        how = (
            "more stable, as in the poster" if with_l1 > without else "not more stable, which the poster has otherwise"
        )
        sentences.append(
            f"Importance of features over the episodes, 1 is always the same: {with_l1:.2f} with L1, {without:.2f} "
            f"without: with L1 it is {how}; {_mean(finished, LINEAR, 'features'):.1f} features against "
            f"{_mean(finished, PLAIN, 'features'):.1f} have any."
        )
    return sentences


def _speed(policy: str, ours: Sequence[float], deep: Sequence[float], finished: Sequence[FinishedCell]) -> str:
    level = min(max(ours), max(deep)) - ROUNDING
    reached, deep_reached = (next(n for n, value in enumerate(curve) if value >= level) for curve in (ours, deep))
    faster = "the linear one is faster, as in the poster" if reached < deep_reached else "the linear one is not faster"
    area, deep_area = (_known(finished, name, "mean_reward") for name in (policy, MLP))
    end, deep_end = (_known(finished, name, "greedy_reward") for name in (policy, MLP))
    higher = "higher, as in the poster" if end > deep_end else "not higher, where the poster has it higher"
    return (
        f"{policy} against {MLP}: the running reward ({min(WINDOW, len(ours))} episodes) reaches {level:.3f}, the most "
        f"that both reach, after {reached + 1} against {deep_reached + 1} episodes: {faster}. Mean reward of all "
        f"episodes {area:.3f} against {deep_area:.3f}; of the greedy one {end:.3f} against {deep_end:.3f}: {higher}."
    )


def mean_rewards(policy: str, finished: Sequence[FinishedCell]) -> list[float]:
    """The running mean of the reward by exploring episode, mean over seeds; the first ones are of fewer episodes."""
    runs = [line.results["rewards"][:-1] for line in finished if line.cell["policy"] == policy]
    by_episode = [statistics.fmean(rewards) for rewards in zip(*runs, strict=True)]
    return [statistics.fmean(by_episode[max(0, end - WINDOW) : end]) for end in range(1, len(by_episode) + 1)]


def _mean(finished: Sequence[FinishedCell], policy: str, key: str) -> float | None:
    values = [line.results[key] for line in finished if line.cell["policy"] == policy]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _known(finished: Sequence[FinishedCell], policy: str, key: str) -> float:
    value = _mean(finished, policy, key)
    assert value is not None
    return value


def learning_picture(finished: Sequence[FinishedCell]) -> Figure:
    from pipeline.report.figures import finish, new_figure

    figure = new_figure()
    axes = figure.add_subplot()
    for policy, tone in TONES.items():
        for line in (line for line in finished if line.cell["policy"] == policy):
            axes.plot(
                range(1, len(line.results["rewards"])), line.results["rewards"][:-1], color=tone, alpha=0.2, lw=0.7
            )
        curve = mean_rewards(policy, finished)
        if curve:
            axes.plot(range(1, len(curve) + 1), curve, color=tone, lw=2, label=policy)
    axes.set(xlabel="Episode", ylabel=f"Reward (thick: running mean of {WINDOW})")
    return finish(figure)


def importance_picture(finished: Sequence[FinishedCell]) -> Figure:
    """Shares of importance by episode, of the first seed of each linear policy."""
    from matplotlib import colormaps

    from pipeline.report.figures import finish, new_figure

    figure = new_figure(4.8)
    both = figure.subplots(1, 2, sharey=True)
    labelled = False
    for axes, policy in zip(both, (LINEAR, PLAIN), strict=True):
        axes.set(title=policy, xlabel="Episodes since the actor learns")
        lines = [line.results["importances"] for line in finished if line.cell["policy"] == policy]
        if not lines or not lines[0]:
            continue
        names = list(lines[0][0])
        totals = [sum(one.values()) or 1.0 for one in lines[0]]
        heights = [[100 * one[name] / total for one, total in zip(lines[0], totals, strict=True)] for name in names]
        tones = [colormaps["tab10"](number) for number in range(len(names))]
        axes.stackplot(range(1, len(totals) + 1), heights, colors=tones, labels=() if labelled else names)
        labelled = True
    both[0].set_ylabel("Share of all importance, %")
    return finish(figure)
