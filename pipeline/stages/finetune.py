"""Rebuild the winner and the controls as physically smaller networks and train each in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.pruning.weights import zeros_of
from pipeline.records import PruningPlan, read_json
from pipeline.run_folder import RunFolder, write_json
from pipeline.subject import Subject, save_weights


def inputs(config: Config) -> Any:
    return [config.seed, config.finetune, config.controls]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    search = folder.stage("search")
    # The plan of a search over weights is about the network that its last round started from.
    dense = search if config.pruning.kind == "weights" else folder.stage("baseline")
    subject = Subject(config, dense / "model.safetensors")
    plans = {"pruned": search / "plan.json"} | {name: search / "controls" / f"{name}.json" for name in config.controls}
    for name, plan_file in plans.items():
        target = work if name == "pruned" else work / name
        if not (target / "evaluation.json").exists():
            target.mkdir(exist_ok=True)
            _finetune(name, subject, read_json(PruningPlan, plan_file), target, progress)


def _finetune(name: str, subject: Subject, plan: PruningPlan, target: Path, progress: Progress) -> None:
    network = subject.slim(plan)
    checkpoint = target / "checkpoint.pt"
    reports = subject.fit(
        network,
        subject.config.finetune,
        hold=zeros_of(network) if plan.weights else None,
        checkpoint=checkpoint,
        on_epoch=lambda report: progress.update(f"fine-tuning {name}", report.epoch, report.epochs),
    )
    save_weights(network, target / "model.safetensors")
    write_json(target / "plan.json", plan)
    write_json(target / "history.json", [report.model_dump() for report in reports])
    write_json(target / "evaluation.json", subject.evaluate(network, subject.data.test))
    checkpoint.unlink()
