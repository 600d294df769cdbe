"""Puts the search's parts together from a configuration: meters, tables, latency source, actions, environment."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config import Config, PruningSection
from pipeline.data.splits import take
from pipeline.errors import ConfigError, ModelError
from pipeline.evaluation import evaluation_from_logits
from pipeline.export import TfliteConverter
from pipeline.records import Evaluation, counts_latency
from pipeline.run_folder import MEASURED, hash_json
from pipeline.search import agents
from pipeline.search.actions import Actions, Choices, Shares, channel_choices
from pipeline.search.cost import CostSource, CountedMacs
from pipeline.search.env import PruningTask
from pipeline.search.features import STATES_OF_ACCURACY
from pipeline.search.judge import PrefixJudge
from pipeline.search.latency import Hybrid, Measured, Tabled
from pipeline.search.latency_table import LatencyModel, LatencyTable
from pipeline.search.meter import LatencyMeter
from pipeline.search.pruner import ChannelPruner, Site
from pipeline.search.recovery import Recovery
from pipeline.search.rewards import make_reward
from pipeline.search.sites import facts_of_groups
from pipeline.search.uniform import KeepGrid, round_grid, scaled_counts, share_at, uniform_counts
from pipeline.search_section import SearchSection, TargetSection
from pipeline.subject import Subject

CONVERTERS = 2


def open_meters(
    subject: Subject, run: Path, folder: Path, workspace: Path, converter: TfliteConverter
) -> list[LatencyMeter]:
    """One meter for each configured device.

    Args:
        run: the run's folder; what is measured of this network is kept in it, for later searches too.
        folder: of the stage.
    """
    config = subject.config
    network = hash_json([dataclasses.asdict(layer) for layer in subject.shape.layers])
    kept = run / MEASURED / network[:12]
    kept.mkdir(parents=True, exist_ok=True)
    return [
        LatencyMeter(
            network=subject.network,
            groups=subject.groups,
            scores=subject.scores,
            input_shape=subject.input_shape,
            device_spec=device,
            spec=config.search.bench.spec(),
            reward_from=config.search.trusted_kinds,
            log=kept / "measurements.jsonl",
            folder=folder,
            workspace=workspace,
            converter=converter,
        )
        for device in config.device_specs()
    ]


def cost_source(subject: Subject, meters: Sequence[LatencyMeter], tables: Sequence[LatencyTable]) -> CostSource:
    """What says what a plan of channels costs."""
    config = subject.config
    if config.search.target.macs is not None:
        return CountedMacs(subject.shape, config.search.target.macs)
    measured = Measured(meters, config.search.target)
    if config.search.latency_source == "measured":
        return measured
    tabled = Tabled([LatencyModel(subject.shape, table) for table in tables], config.search.target)
    return tabled if config.search.latency_source == "table" else Hybrid(tabled, measured)


def keep_grid(subject: Subject, tables: Sequence[LatencyTable]) -> KeepGrid:
    """The channel counts that the search chooses from: right edges of the measured staircases, else round numbers.

    Of several devices, each one's edges are offered.
    """
    grid = round_grid(subject.groups, subject.config.pruning)
    if not subject.config.search.staircase or not all(table.steps for table in tables):
        return grid
    return {
        name: tuple(sorted({count for table in tables for count in table.steps[name]})) if tables else counts
        for name, counts in grid.items()
    }


def uniform_at(source: CostSource, grid: KeepGrid, config: Config) -> tuple[float, dict[str, int]]:
    """The uniform plan that just meets the target, and its share of the channels.

    Energy is only modelled here: that no plan meets its target is for the search to find out.

    Raises:
        ConfigError: the target is met by the dense network already, or by no network that may be made.
    """

    def cost(share: float) -> float:
        return source.step(uniform_counts(grid, share)).of_aim

    lowest = config.pruning.min_keep
    smallest = source.step(uniform_counts(grid, lowest))
    if counts_latency(smallest.energy) and smallest.target_ratio >= 1.0:
        raise ConfigError(
            f"search.target: the dense network already takes {smallest.dense_ms:.3g} ms, which is no more than the "
            f"target allows; ask for less than that"
        )
    if counts_latency(smallest.energy) and smallest.ratio > smallest.aim_ratio:
        raise ConfigError(
            f"search.target: {smallest.target_ratio:.1%} of the dense {smallest.cost} cannot be reached: the smallest "
            f"network that pruning.min_keep {config.pruning.min_keep:g} and round_to {config.pruning.round_to} allow "
            f"takes {smallest.ratio:.1%}; raise the target, lower pruning.min_keep or round_to, or have more counts "
            "offered than the right edges of the device's steps (search.staircase: false)"
        )
    share = share_at(1.0, cost, lowest=lowest)
    return share, uniform_counts(grid, share)


def channel_actions(
    settings: SearchSection, pruning: PruningSection, grid: KeepGrid, source: CostSource, uniform_share: float
) -> Actions:
    kind = agents.actions_of(settings, "channels")
    if kind == "bounded":
        return Shares(grid, lambda kept: source.step(kept).of_aim)
    if kind == "continuous":
        return Shares(grid)
    choices = channel_choices(
        grid,
        n_actions=settings.n_actions,
        min_keep=pruning.min_keep,
        around=uniform_share if kind == "around_target" else None,
        span=settings.action_span,
    )
    return Choices(tuple(choices.values()))


def fit_to_target(source: CostSource, grid: KeepGrid, keep_counts: Mapping[str, int]) -> dict[str, int]:
    """The plan with the same proportions between groups whose predicted latency comes nearest to the aim."""
    shares = {name: keep_counts[name] / counts[-1] for name, counts in grid.items()}

    def cost(factor: float) -> float:
        return source.step(scaled_counts(grid, shares, factor)).of_aim

    return scaled_counts(grid, shares, share_at(1.0, cost, lowest=1 / 4, highest=4.0))


def make_task(
    subject: Subject, source: CostSource, grid: KeepGrid, uniform_share: float, recovery: Recovery
) -> PruningTask:
    config, settings = subject.config, subject.config.search
    dense = subject.evaluate(subject.network, subject.data.validation)
    state = agents.state_of(settings)
    actions = channel_actions(settings, config.pruning, grid, source, uniform_share)
    bounded = isinstance(actions, Shares) and actions.cost is not None
    fits = settings.fits_plans and not bounded
    return PruningTask(
        sites=[Site(group.name, group.channels) for group in subject.groups],
        actions=actions,
        pruner=ChannelPruner(subject.groups, subject.scores, make_judge(subject), recovery.evaluate),
        cost=source,
        macs=subject.shape.macs,
        reward=make_reward(settings.reward, accuracy_target(dense, settings.target)),
        dense_reward=settings.reward.dense,
        state=state,
        facts=facts_of_groups(subject.network, subject.groups, subject.shape),
        judges_steps=settings.reward.dense or state in STATES_OF_ACCURACY or bool(settings.stop_below),
        fit=functools.partial(fit_to_target, source, grid) if fits else dict,
        stop_below=settings.stop_below or 0.0,
        grid=grid,
        subject=subject,
    )


def accuracy_target(dense: Evaluation, target: TargetSection) -> float:
    """T_A: the dense network's accuracy on the validation images, less what may be lost.

    Raises:
        ModelError: nothing would be left to reach.
    """
    if dense.top1 <= target.accuracy_drop:
        raise ModelError(
            f"the dense network is right on {dense.top1:.1%} of the validation images, no more than "
            f"search.target.accuracy_drop ({target.accuracy_drop:g}) gives away; train it longer"
        )
    return dense.top1 - target.accuracy_drop


def make_judge(subject: Subject) -> PrefixJudge:
    validation = subject.data.validation
    few = take(validation, min(subject.config.search.judge_images, len(validation)), subject.config.seed)
    images, labels = next(iter(few.batches(len(few))))
    figures = functools.partial(
        evaluation_from_logits, labels=labels, split="validation", evaluation=subject.accuracy, loss=subject.loss
    )
    return PrefixJudge(subject.network, subject.groups, images, figures)
