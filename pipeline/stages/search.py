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
from pipeline.search.energy import with_energy
from pipeline.search.env import PruneEnv
from pipeline.search.episodes import EpisodeLog
from pipeline.search.finalists import Finalist, judge_finalists, shortlist
from pipeline.search.latency import Hybrid, LatencySource
from pipeline.search.latency_table import LatencyTable
from pipeline.search.meter import LatencyMeter
from pipeline.search.recovery import Recovery
from pipeline.search.task import (
    CONVERTERS,
    keep_choices,
    keep_grid,
    latency_source,
    make_task,
    open_meters,
    uniform_at,
)
from pipeline.search.uniform import KeepGrid
from pipeline.subject import Subject


def inputs(config: Config) -> Any:
    return [config.search, config.finetune, config.controls]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    search = agents.find(config.search.agent)
    subject = Subject(config, folder.stage("baseline") / "model.safetensors")
    tables = [
        LatencyTable.model_validate(table)
        for table in json.loads((folder.stage("profile") / "latency_table.json").read_text())["tables"]
    ]
    with tempfile.TemporaryDirectory() as workspace, TfliteConverter(workers=CONVERTERS) as converter:
        meters = open_meters(subject, folder.path, work, Path(workspace), converter)
        for meter, table in zip(meters, tables, strict=False):
            table.require(meter.device, meter.runtime, meter.spec)
        source = latency_source(subject, meters, tables)
        energy = with_energy(source, meters, config)
        paid = energy or source
        grid = keep_grid(subject, tables)
        share, uniform = uniform_at(paid, grid, config)
        choices = keep_choices(grid, config, share)
        recovery = Recovery(subject)
        task = make_task(subject, paid, grid, choices, recovery)
        log = EpisodeLog(
            work / "episodes.jsonl",
            lambda episode: progress.update(_line(episode), episode.index + 1, config.search.episodes + 2),
        )
        env = PruneEnv(task, log, config.seed)
        env.play([_nearest(choices[group.name], uniform[group.name]) for group in subject.groups], "reference")
        search(env, config.search, config.seed, work)
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
            config, work, progress, winner.plan, grid=grid, recovery=recovery, source=source, meter=meters[0]
        )
    write_json(work / "summary.json", _summary(config, log.episodes, finalists, meters, tables, source))


def _write_controls(
    config: Config,
    work: Path,
    progress: Progress,
    pruned: Mapping[str, int],
    *,
    grid: KeepGrid,
    recovery: Recovery,
    source: LatencySource,
    meter: LatencyMeter,
) -> None:
    (work / "controls").mkdir(exist_ok=True)
    for name in config.controls:
        progress.update(f"control {name}")
        plan = control_plan(
            name,
            pruned,
            grid=grid,
            recovery=recovery,
            source=source,
            meter=meter,
            min_keep=config.pruning.min_keep,
            seed=config.seed,
        )
        write_json(work / "controls" / f"{name}.json", plan)


def _nearest(choices: Sequence[int], wanted: int) -> int:
    return min(range(len(choices)), key=lambda action: abs(choices[action] - wanted))


def _line(episode: Episode) -> str:
    assert episode.evaluation is not None
    ratio = (episode.latency_ms or 0.0) / (episode.dense_latency_ms or 1.0)
    return f"episode {episode.index}: {episode.evaluation.top1:.1%} at {ratio:.2f} of the latency"


def _summary(
    config: Config,
    episodes: Sequence[Episode],
    finalists: Sequence[Finalist],
    meters: Sequence[LatencyMeter],
    tables: Sequence[LatencyTable],
    source: Any,
) -> dict[str, Any]:
    winner = finalists[0]
    dense_ms = episodes[-1].dense_latency_ms
    greedy = next((episode for episode in episodes if episode.kind == "greedy"), None)
    errors = [table.error for table in tables if table.error is not None]
    return {
        "agent": config.search.agent,
        "reward": config.search.reward.name,
        "latency_source": config.search.latency_source,
        "episodes": len(episodes),
        "wall_s": sum(sum(episode.seconds.values()) for episode in episodes),
        "device_measurements": sum(len(meter.measured) for meter in meters),
        "unstable_measurements": sum(line.unstable is not None for meter in meters for line in meter.measured),
        "repeated_processes": sum(len(line.rejected) for meter in meters for line in meter.measured),
        "rejected_measurements": [
            {"reasons": line.reasons, "processes": len(line.processes)} for meter in meters for line in meter.rejected
        ],
        "latency_table_error": max(errors, key=lambda error: error.median) if errors else None,
        "hybrid_error": source.error() if isinstance(source, Hybrid) else None,
        "hybrid_errors": source.errors if isinstance(source, Hybrid) else [],
        "dense_latency_ms": dense_ms,
        "target_ratio": winner.target_ratio,
        "target_met": winner.meets_targets,
        "winner": winner.plan_id,
        "energy": winner.energy,
        "finalists": [
            {**finalist.model_dump(mode="json", exclude={"validation"}), "validation_top1": finalist.validation.top1}
            for finalist in finalists
        ],
        "greedy": greedy and {"ratio": greedy.latency_ratio, "top1": greedy.evaluation and greedy.evaluation.top1},
    }
