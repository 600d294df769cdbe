"""Let the agent search, then decide which plan wins, and make the controls at the winner's latency."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.export import TfliteConverter
from pipeline.progress import Progress
from pipeline.records import Episode
from pipeline.run_folder import RunFolder, write_json
from pipeline.search import agents
from pipeline.search.controls import control_plan
from pipeline.search.cost import CostSource
from pipeline.search.energy import with_energy
from pipeline.search.env import PruneEnv
from pipeline.search.episodes import EpisodeLog, in_words
from pipeline.search.finalists import Finalist, judge_finalists, shortlist
from pipeline.search.latency import Hybrid
from pipeline.search.latency_table import LatencyTable
from pipeline.search.meter import LatencyMeter
from pipeline.search.recovery import Recovery
from pipeline.search.task import (
    CONVERTERS,
    cost_source,
    keep_grid,
    make_task,
    open_meters,
    uniform_at,
)
from pipeline.search.uniform import KeepGrid
from pipeline.search.weight_search import WeightSearch
from pipeline.subject import Subject, save_weights


def inputs(config: Config) -> Any:
    return [config.search, config.finetune, config.controls]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    subject = Subject(config, folder.stage("baseline") / "model.safetensors")
    if config.pruning.kind == "weights":
        _search_weights(subject, work, progress)
    else:
        _search_channels(subject, folder, work, progress)


def _search_weights(subject: Subject, work: Path, progress: Progress) -> None:
    config = subject.config
    search = WeightSearch(subject, work, progress)
    start, finalists = search.run()
    winner = finalists[0]
    save_weights(start, work / "model.safetensors")
    write_json(work / "plan.json", search.plan(winner.plan, agent=config.search.agent, episode=winner.episode))
    (work / "controls").mkdir(exist_ok=True)
    for name in config.controls:
        network, plan = search.uniform([one.sparsity for one in search.rounds])
        save_weights(network, work / "controls" / f"{name}.safetensors")
        write_json(work / "controls" / f"{name}.json", plan)
    write_json(work / "summary.json", _summary(config, search.episodes, finalists) | {"rounds": search.rounds})


def _search_channels(subject: Subject, folder: RunFolder, work: Path, progress: Progress) -> None:
    config = subject.config
    tables = [
        LatencyTable.model_validate(table)
        for table in json.loads((folder.stage("profile") / "latency_table.json").read_text())["tables"]
    ]
    with tempfile.TemporaryDirectory() as workspace, TfliteConverter(workers=CONVERTERS) as converter:
        meters = open_meters(subject, folder.path, work, Path(workspace), converter)
        for meter, table in zip(meters, tables, strict=False):
            table.require(meter.device, meter.runtime, meter.spec)
        source = cost_source(subject, meters, tables)
        energy = with_energy(source, meters, config)
        paid = energy or source
        grid = keep_grid(subject, tables)
        share, uniform = uniform_at(paid, grid, config)
        recovery = Recovery(subject)
        task = make_task(subject, paid, grid, share, recovery)
        log = EpisodeLog(
            work / "episodes.jsonl",
            lambda episode: progress.update(in_words(episode), episode.index + 1, config.search.episodes + 2),
        )
        env = PruneEnv(task, log, config.seed)
        env.play_plan(uniform, "reference", judge_steps=task.dense_reward)
        agents.find(config.search.agent)(env, config.search, config.seed, work)
        finalists = judge_finalists(
            subject,
            recovery,
            meters,
            shortlist(log.episodes, config.search.finalists),
            energy,
            lambda done: progress.update("finalists", done, config.search.finalists),
        )
        winner = finalists[0]
        write_json(work / "plan.json", recovery.plan(winner.plan, agent=config.search.agent, episode=winner.episode))
        _write_controls(
            subject, work, progress, winner.plan, grid=grid, recovery=recovery, source=source, meter=meters[0]
        )
    write_json(work / "summary.json", _summary(config, log.episodes, finalists) | _of_latency(meters, tables, source))


def _write_controls(
    subject: Subject,
    work: Path,
    progress: Progress,
    pruned: Mapping[str, int],
    *,
    grid: KeepGrid,
    recovery: Recovery,
    source: CostSource,
    meter: LatencyMeter,
) -> None:
    (work / "controls").mkdir(exist_ok=True)
    for name in subject.config.controls:
        progress.update(f"control {name}")
        plan = control_plan(name, pruned, subject=subject, grid=grid, recovery=recovery, source=source, meter=meter)
        write_json(work / "controls" / f"{name}.json", plan)


def _summary(config: Config, episodes: Sequence[Episode], finalists: Sequence[Finalist]) -> dict[str, Any]:
    winner = finalists[0]
    # Where greedy episodes are averaged, their average is what the agent proposes.
    own = {episode.kind: episode for episode in reversed(episodes) if episode.kind in ("greedy", "average")}
    greedy = own.get("average") or own.get("greedy")
    cost = config.search.target.cost
    return {
        "agent": config.search.agent,
        "reward": config.search.reward.name or cost,
        "cost": cost,
        "latency_source": config.search.latency_source if cost == "latency" else None,
        "episodes": len(episodes),
        "wall_s": sum(sum(episode.seconds.values()) for episode in episodes),
        "dense_latency_ms": episodes[-1].dense_latency_ms,
        "target_ratio": winner.target_ratio,
        "target_met": winner.meets_targets,
        "winner": winner.plan_id,
        "energy": winner.energy,
        "finalists": [
            {**finalist.model_dump(mode="json", exclude={"validation"}), "validation_top1": finalist.validation.top1}
            for finalist in finalists
        ],
        "greedy": greedy and {"ratio": greedy.cost_ratio, "top1": greedy.evaluation and greedy.evaluation.top1},
    }


def _of_latency(meters: Sequence[LatencyMeter], tables: Sequence[LatencyTable], source: CostSource) -> dict[str, Any]:
    """What measuring took, and how far the table could be trusted."""
    errors = [table.error for table in tables if table.error is not None]
    return {
        "device_measurements": sum(len(meter.measured) for meter in meters),
        "unstable_measurements": sum(line.unstable is not None for meter in meters for line in meter.measured),
        "repeated_processes": sum(len(line.rejected) for meter in meters for line in meter.measured),
        "rejected_measurements": [
            {"reasons": line.reasons, "processes": len(line.processes)} for meter in meters for line in meter.rejected
        ],
        "latency_table_error": max(errors, key=lambda error: error.median) if errors else None,
        "hybrid_error": source.error() if isinstance(source, Hybrid) else None,
        "hybrid_errors": source.errors if isinstance(source, Hybrid) else [],
    }
