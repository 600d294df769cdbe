"""One channel method at one operating point: search a plan by the latency table, fine-tune, test; later, measure.

Every method gets the same trained network, table, data, number of evaluated plans and fine-tuning; what differs is a
few keys of the configuration. Latency is measured in cells of its own, on a quiet machine: all methods of one network
and point in one sitting with the dense network.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Config, validate_config
from pipeline.export import TfliteConverter
from pipeline.pruning.channels import make_plan
from pipeline.records import Episode, Evaluation
from pipeline.reproduce.context import Context
from pipeline.reproduce.table import Cell, Results
from pipeline.run_folder import RunFolder
from pipeline.search import agents
from pipeline.search.env import PruneEnv
from pipeline.search.episodes import EpisodeLog
from pipeline.search.finalists import shortlist
from pipeline.search.latency import Tabled
from pipeline.search.latency_table import LatencyModel, LatencyTable
from pipeline.search.meter import Sitting
from pipeline.search.recovery import Recovery
from pipeline.search.task import CONVERTERS, fit_to_target, keep_grid, make_task, open_meters, uniform_at
from pipeline.section import OpenShare, Section
from pipeline.stages import profile
from pipeline.subject import Subject

UNIFORM = "uniform"
"""Methods whose names begin so search nothing: every group keeps the same share."""


class Pair(Section):
    """A network and its data."""

    name: str
    config: dict[str, Any]
    """As in a configuration file; what all methods share."""
    seeds: int | None = None
    """Fewer seeds than the table's others, where time forbids more."""


class WeightMethod(Section):
    changes: dict[str, dict[str, Any]]
    """In the configuration, section by section; without an agent every layer loses the same share."""
    sparsities: tuple[OpenShare, ...]
    """Operating points: the share of all weights that shall be zero."""


class Contest(Section):
    pairs: tuple[Pair, ...]
    methods: dict[str, dict[str, Any]]
    """What each method changes in the configuration, section by section."""
    speedups: tuple[float, ...]
    """Operating points: dense latency over pruned latency, by the table."""
    weight_methods: dict[str, WeightMethod]


@dataclass(frozen=True)
class Found:
    """What a search cost and what it chose."""

    plan: dict[str, int]
    ratio: float
    """Of the dense latency, by the table."""
    evaluations: int
    judged_steps: int
    """Judgements of masked networks between an episode's steps: cheaper than evaluations; not every method asks."""
    seconds: float


def contestant(pair: Pair, method: Mapping[str, Any], speedup: float, seed: int) -> Config:
    """The configuration of one cell of channel pruning."""
    changes = {**method, "search": {**method.get("search", {}), "latency_source": "table"}}
    return configuration(pair, changes, {"latency": 1.0 / speedup}, seed, f"{pair.name} at {speedup:g}x")


def configuration(pair: Pair, method: Mapping[str, Any], target: Mapping[str, float], seed: int, source: str) -> Config:
    """The pair's, with what the method changes in each section and with this target.

    Args:
        source: what a message about it begins with.
    """
    values: dict[str, Any] = {"name": pair.name, **json.loads(json.dumps(pair.config)), "seed": seed}
    for section, keys in method.items():
        values[section] = {**values.get(section, {}), **keys}
    search = values.setdefault("search", {})
    search["target"] = {**search.get("target", {}), **target}
    return validate_config(values, source)


def latency_table(pair: Pair, context: Context[Any]) -> LatencyTable:
    """Of the pair's network on this machine: built once, by the cell that asks first; seeds share the shapes."""
    config = contestant(pair, {}, speedup=2.0, seed=0)
    subject = context.subject(config)

    def build(partial: Path) -> None:
        context.progress.update(f"{pair.name}: building its latency table")
        profile.run(config, RunFolder(subject.weights.parent.parent), partial, context.progress)

    inputs = [profile.inputs(config), config.model.model_dump(mode="json"), config.data.model_dump(mode="json")]
    folder = context.shared(f"latency-table-{pair.name}", inputs, build)
    tables = json.loads((folder / "latency_table.json").read_text())["tables"]
    return LatencyTable.model_validate(tables[0])


def search(subject: Subject, table: LatencyTable, folder: Path, *, uniform: bool) -> Found:
    """Choose a plan; a search that was killed goes on from `folder`."""
    config, started = subject.config, time.monotonic()
    source = Tabled([LatencyModel(subject.shape, table)], config.search.target)
    grid = keep_grid(subject, [table])
    share, reference = uniform_at(source, grid, config)
    if uniform:
        return Found(reference, source.step(reference).ratio, 0, 0, time.monotonic() - started)
    recovery = Recovery(subject)
    task = make_task(subject, source, grid, share, recovery)
    log = EpisodeLog(folder / "episodes.jsonl")
    env = PruneEnv(task, log, config.seed)
    agents.find(config.search.agent)(env, config.search, config.seed, folder)
    best = shortlist(log.episodes, config.search.finalists)
    chosen = best[0].plan if len(best) == 1 else max(best, key=lambda one: _merit(recovery, one)).plan
    # Some methods stay below the budget; at equal latency means that nobody wins or loses by that.
    plan = fit_to_target(source, grid, chosen)
    spent = sum(sum(episode.seconds.values()) for episode in log.episodes)  # of earlier processes as well
    return Found(
        plan=plan,
        ratio=source.step(plan).ratio,
        evaluations=len(log.episodes) + _noted_evaluations(folder),
        judged_steps=sum(step.evaluation is not None for e in log.episodes for step in e.steps[:-1]),
        seconds=max(spent, time.monotonic() - started),
    )


def _merit(recovery: Recovery, episode: Episode) -> tuple[float, float]:
    tuned = recovery.fine_tuned(episode.plan)
    return tuned.top1, -tuned.loss


def _noted_evaluations(folder: Path) -> int:
    """Those that an agent made outside episodes."""
    noted = folder / "evaluations.json"
    return int(json.loads(noted.read_text())["evaluations"]) if noted.exists() else 0


def tuned_accuracy(subject: Subject, plan: Mapping[str, int], context: Context[Any]) -> Evaluation:
    """Rebuild, fine-tune as configured, and classify the test images, which no search has seen."""
    network = subject.slim(make_plan(subject.architecture, subject.groups, plan, subject.scores, {}))
    subject.fit(
        network,
        subject.config.finetune,
        checkpoint=context.folder / "checkpoint.pt",
        on_epoch=lambda report: context.progress.update("fine-tuning", report.epoch, report.epochs),
    )
    return subject.evaluate(network, subject.data.test)


def accuracy_results(subject: Subject, found: Found, tuned: Evaluation, table: LatencyTable) -> Results:
    shape = subject.shape
    return {
        "top1": tuned.top1,
        "top5": tuned.top5,
        "loss": tuned.loss,
        "predicted_speedup": 1.0 / found.ratio,
        "compression": shape.params({}) / shape.params(found.plan),
        "theoretical_speedup": shape.macs({}) / shape.macs(found.plan),
        "search_s": found.seconds,
        "evaluations": found.evaluations,
        "judged_steps": found.judged_steps,
        "device_measurements": len(table.points) + len(table.layers),
        "table_built_at": table.built_at,
        "plan": found.plan,
    }


def measure(pair: Pair, seed: int, plans: Sequence[Mapping[str, int]], context: Context[Any]) -> Sitting:
    """The plans in one sitting with the dense network, in fresh processes.

    Raises:
        MeasurementRejectedError: the machine was busy; the cell is run again another time.
    """
    config = contestant(pair, {}, speedup=2.0, seed=seed)
    subject = context.subject(config)
    with tempfile.TemporaryDirectory() as workspace, TfliteConverter(workers=CONVERTERS) as converter:
        meter = open_meters(subject, context.folder, context.folder, Path(workspace), converter)[0]
        return meter.fresh(plans)


def of_pair(contest: Contest, cell: Cell) -> Pair:
    return next(pair for pair in contest.pairs if pair.name == cell["pair"])


def sparse_name(method: str, sparsity: float) -> str:
    """What a weight method at one operating point is called."""
    return f"{method} at {sparsity:.0%} zeros"
