"""Puts the search's parts together from a configuration: meters, tables, latency source, actions, environment."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.config import Config
from pipeline.data.splits import take
from pipeline.errors import ConfigError, ModelError
from pipeline.evaluation import evaluation_from_logits
from pipeline.export import TfliteConverter
from pipeline.records import counts_latency
from pipeline.run_folder import MEASURED, hash_json
from pipeline.search.env import PruningTask
from pipeline.search.judge import PrefixJudge
from pipeline.search.latency import Hybrid, LatencySource, Measured, Tabled
from pipeline.search.latency_table import LatencyModel, LatencyTable
from pipeline.search.meter import LatencyMeter
from pipeline.search.recovery import Recovery
from pipeline.search.uniform import KeepGrid, nearest_keep, round_grid, scaled_counts, share_at, uniform_counts
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
            reward_from=config.search.reward_from,
            log=kept / "measurements.jsonl",
            folder=folder,
            workspace=workspace,
            converter=converter,
        )
        for device in config.device_specs()
    ]


def latency_source(
    subject: Subject, meters: Sequence[LatencyMeter], tables: Sequence[LatencyTable]
) -> Measured | Tabled | Hybrid:
    config = subject.config
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


def uniform_at(source: LatencySource, grid: KeepGrid, config: Config) -> tuple[float, dict[str, int]]:
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
            f"search.target: {smallest.target_ratio:.1%} of the dense latency cannot be reached: the smallest network "
            f"that pruning.min_keep {config.pruning.min_keep:g} and round_to {config.pruning.round_to} allow takes "
            f"{smallest.ratio:.1%}; raise the target, lower pruning.min_keep or round_to, or have more counts offered "
            "than the right edges of the device's steps (search.staircase: false)"
        )
    share = share_at(1.0, cost, lowest=lowest)
    return share, uniform_counts(grid, share)


def keep_choices(grid: KeepGrid, config: Config, uniform_share: float) -> dict[str, tuple[int, ...]]:
    """Channel counts by action number, from few to many; the middle action of `around_target` is the uniform plan."""
    n_actions = config.search.n_actions
    if config.search.actions == "absolute":
        shares = np.linspace(config.pruning.min_keep, 1.0, n_actions)
    else:
        shares = uniform_share * config.search.action_span ** np.linspace(-1.0, 1.0, n_actions)
    return {
        name: tuple(nearest_keep(counts, min(1.0, float(share))) for share in shares) for name, counts in grid.items()
    }


def fit_to_target(source: LatencySource, grid: KeepGrid, keep_counts: Mapping[str, int]) -> dict[str, int]:
    """The plan with the same proportions between groups whose predicted latency comes nearest to the aim."""
    shares = {name: keep_counts[name] / counts[-1] for name, counts in grid.items()}

    def cost(factor: float) -> float:
        return source.step(scaled_counts(grid, shares, factor)).of_aim

    return scaled_counts(grid, shares, share_at(1.0, cost, lowest=1 / 4, highest=4.0))


def make_task(
    subject: Subject,
    source: LatencySource,
    grid: KeepGrid,
    choices: Mapping[str, Sequence[int]],
    recovery: Recovery,
) -> PruningTask:
    config = subject.config
    dense = subject.evaluate(subject.network, subject.data.validation)
    if dense.top1 <= config.search.target.accuracy_drop:
        raise ModelError(
            f"the dense network is right on {dense.top1:.1%} of the validation images, no more than "
            f"search.target.accuracy_drop ({config.search.target.accuracy_drop:g}) gives away; train it longer"
        )
    fits = config.search.fit_to_target and config.search.latency_source != "measured"
    return PruningTask(
        groups=subject.groups,
        keep_choices=choices,
        scores=subject.scores,
        judge=make_judge(subject),
        fit=functools.partial(fit_to_target, source, grid) if fits else dict,
        evaluate=recovery.evaluate,
        latency=source,
        accuracy_target=dense.top1 - config.search.target.accuracy_drop,
        reward=config.search.reward,
        state=config.search.state,
    )


def make_judge(subject: Subject) -> PrefixJudge:
    validation = subject.data.validation
    few = take(validation, min(subject.config.search.judge_images, len(validation)), subject.config.seed)
    images, labels = next(iter(few.batches(len(few))))
    figures = functools.partial(
        evaluation_from_logits, labels=labels, split="validation", evaluation=subject.accuracy, loss=subject.loss
    )
    return PrefixJudge(subject.network, subject.groups, images, figures)
