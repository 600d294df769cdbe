"""Train the dense network, or load its weights; measure its accuracy on the test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.pruning.groups import prunable
from pipeline.pruning.weights import weight_layers
from pipeline.run_folder import RunFolder, write_json
from pipeline.search.agents import fixed
from pipeline.search.weight_rounds import not_skipped
from pipeline.subject import Subject, save_weights

IMAGENET_CLASSES = 1000


def inputs(config: Config) -> Any:
    return [config.seed, config.model, config.data, config.baseline]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    subject = Subject(config, work / "model.safetensors")
    classes = len(subject.data.classes)
    network = models.load(
        config.model.name,
        num_classes=classes,
        weights=config.model.weights,
        options=config.model.options,
        image_size=config.data.image_size,
        channels=subject.data.preprocessing.channels,
        seed=config.seed,
    )
    # A network that cannot be pruned as it shall be is not worth training.
    if config.pruning.kind == "weights":
        layers = not_skipped(weight_layers(network, subject.input_shape), config.pruning.skip)
        sizes = {layer.name: layer.size for layer in layers}
    else:
        sizes = {group.name: group.channels for group in prunable(subject.find_groups(network))}
    if config.search.agent == "fixed":
        fixed.plan(config.search, sizes)
    history: list[dict[str, Any]] = []
    new_classifier = config.model.weights == "imagenet" and classes != IMAGENET_CLASSES
    if config.model.weights is None or new_classifier:
        checkpoint = work / "checkpoint.pt"
        reports = subject.fit(
            network,
            config.baseline,
            checkpoint=checkpoint,
            on_epoch=lambda report: progress.update("training", report.epoch, report.epochs),
        )
        checkpoint.unlink()
        history = [report.model_dump() for report in reports]
    save_weights(network, work / "model.safetensors")
    write_json(work / "history.json", history)
    write_json(work / "evaluation.json", subject.evaluate(network, subject.data.test))
