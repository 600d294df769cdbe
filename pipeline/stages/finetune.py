"""Rebuild the winner and the controls, smaller or with zeros in place of weights, and train each in the same way."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.pruning.weights import zero_weights, zeros_of
from pipeline.records import PruningPlan, read_json
from pipeline.run_folder import RunFolder, write_json
from pipeline.subject import Subject, load_weights, save_weights


def inputs(config: Config) -> Any:
    return [config.seed, config.finetune, config.controls]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    search = folder.stage("search")
    subject = Subject(config, folder.stage("baseline") / "model.safetensors")
    plans = {"pruned": search / "plan.json"} | {name: search / "controls" / f"{name}.json" for name in config.controls}
    for name, plan_file in plans.items():
        target = work if name == "pruned" else work / name
        if not (target / "evaluation.json").exists():
            target.mkdir(exist_ok=True)
            plan = read_json(PruningPlan, plan_file)
            if config.pruning.kind == "weights":
                start = search / ("model.safetensors" if name == "pruned" else f"controls/{name}.safetensors")
                network = _zeroed(subject, plan, start)
            else:
                network = subject.slim(plan)
            _finetune(name, subject, network, plan, target, progress)


def _zeroed(subject: Subject, plan: PruningPlan, start: Path) -> nn.Module:
    """A plan of weights is about the network that the last round of its search started from."""
    network = copy.deepcopy(subject.network)
    load_weights(network, start)
    zero_weights(network, plan)
    return network


def _finetune(
    name: str, subject: Subject, network: nn.Module, plan: PruningPlan, target: Path, progress: Progress
) -> None:
    checkpoint = target / "checkpoint.pt"
    reports = subject.fit(
        network,
        subject.config.finetune,
        hold=zeros_of(network) if subject.config.pruning.kind == "weights" else None,
        checkpoint=checkpoint,
        on_epoch=lambda report: progress.update(f"fine-tuning {name}", report.epoch, report.epochs),
    )
    save_weights(network, target / "model.safetensors")
    write_json(target / "plan.json", plan)
    write_json(target / "history.json", [report.model_dump() for report in reports])
    write_json(target / "evaluation.json", subject.evaluate(network, subject.data.test))
    checkpoint.unlink()
