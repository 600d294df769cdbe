"""Export dense, pruned and control networks, and check that each file still computes the same."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from device_bench.accuracy import paired_difference
from pipeline.config import Config
from pipeline.export.variant import ExportWorkers, export_variant
from pipeline.progress import Progress
from pipeline.pruning.costs import parameter_count, trace_shape
from pipeline.pruning.weights import sparsity, weight_layers, weights_left
from pipeline.records import Evaluation, PruningPlan, read_json
from pipeline.run_folder import RunFolder, write_json
from pipeline.subject import Subject, load_weights


def inputs(config: Config) -> Any:
    return [config.export]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    subject = Subject(config, folder.stage("baseline") / "model.safetensors")
    artifacts, variants = [], []
    answers = {"dense": subject.answers(subject.network, subject.data.test)}
    with ExportWorkers() as workers:
        for name in ("dense", *config.controls, "pruned"):
            source = folder.stage("finetune") / (name if name in config.controls else "")
            plan = None if name == "dense" else read_json(PruningPlan, source / "plan.json")
            network = subject.network
            if plan is not None:
                network = subject.slim(plan)
                load_weights(network, source / "model.safetensors")
                answers[name] = subject.answers(network, subject.data.test)
            artifacts += export_variant(
                network,
                variant=name,
                data=subject.data,
                settings=config.export,
                folder=work,
                workers=workers,
                on_progress=functools.partial(_tell, progress, name),
                evaluation=subject.accuracy,
                loss=subject.loss,
            )
            measured = folder.stage("baseline") if plan is None else source
            variant = _variant(name, subject, network, plan, read_json(Evaluation, measured / "evaluation.json"))
            variants.append(variant | _compared(name, answers, config.controls))
    write_json(work / "artifacts.json", artifacts)
    write_json(work / "variants.json", variants)


def _tell(progress: Progress, variant: str, text: str) -> None:
    progress.update(f"{variant}: {text}")


def _compared(name: str, answers: dict[str, NDArray[np.float64]], controls: Iterable[str]) -> dict[str, Any]:
    """What the variant lost against dense and, of pruned, what it has over each control."""
    lost = None if name == "dense" else _difference(answers["dense"], answers[name])
    over = {control: _difference(answers[name], answers[control]) for control in controls} if name == "pruned" else {}
    return {"top1_lost": lost, "top1_over": over}


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, Any]:
    """Top-1 of a less that of b on the test split, compared image by image."""
    difference, ci95 = paired_difference(a, b)
    return {"difference": difference, "ci95": ci95, "n": len(a)}


def _variant(
    name: str, subject: Subject, network: nn.Module, plan: PruningPlan | None, evaluation: Evaluation
) -> dict[str, Any]:
    where = {"dense": None, "pruned": "finetune/plan.json"}.get(name, f"finetune/{name}/plan.json")
    size = _size_in_weights(subject, network) if subject.config.pruning.kind == "weights" else _size(subject, plan)
    return {"name": name, "plan": where, "evaluation": evaluation, "sparsity": sparsity(network), **size}


def _size(subject: Subject, plan: PruningPlan | None) -> dict[str, Any]:
    counts = plan.keep_counts() if plan else {}
    return {
        "params": subject.shape.params(counts),
        "macs": subject.shape.macs(counts),
        "groups": {
            group.name: {"channels": group.channels, "kept_count": counts.get(group.name, group.channels)}
            for group in subject.groups
        },
    }


def _size_in_weights(subject: Subject, network: nn.Module) -> dict[str, Any]:
    """What is not zero; a channel that has become useless still counts where its weights do."""
    layers = weight_layers(network, subject.input_shape)
    left = weights_left(network, layers)
    zeros = {layer.name: layer.size - left[layer.name] for layer in layers}
    return {
        "params": parameter_count(network) - sum(zeros.values()),
        "macs": trace_shape(network, (), subject.input_shape).macs_without(zeros),
        "weights": {layer.name: {"size": layer.size, "kept": left[layer.name]} for layer in layers},
    }
