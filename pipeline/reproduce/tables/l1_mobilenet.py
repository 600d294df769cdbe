"""002_87b8c24d6cc31293 (Babel, Pruning Deep Neural Nets): MobileNetV1 loses filters of small L1 norm, layer by layer.

The paper reports a network of 3,583,656 of 4,231,976 parameters at 1,000 classes, and does not publish how many filters
it removed where. `REMOVED` is a plan of exactly that size: of all plans that take a multiple of 4 filters from the
first 3x3 convolution and the 1x1 convolutions (depthwise ones follow) and save exactly 648,320 parameters, the one
whose shares of removed filters lie nearest, in squares, to the one share that every layer would lose in uniform pruning
of that size (9.15%; `tests/pipeline/reproduce/test_l1_mobilenet.py` finds it again, and that it is the only one).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from pipeline.config import BaselineSection, DataSection, FinetuneSection, ModelSection, PruningSection
from pipeline.reproduce.context import Context
from pipeline.reproduce.l1_filters import NORM_POINTS, filter_norms, norm_quantiles, without_weakest_filters
from pipeline.reproduce.network import NetworkSettings
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, Column, Figures, FinishedCell, Results, Table, percent
from pipeline.section import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from pipeline.records import Evaluation
    from pipeline.subject import Subject

STEP = 4
"""Filters are removed in multiples of it."""
WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
REMOVED = (4, 4, 12, 12, 24, 24, 48, 48, 44, 44, 44, 44, 92, 100)
GROUPS = tuple(f"features.{2 * index}.0" for index in range(len(WIDTHS)))
"""The first convolution and the 1x1 convolutions, in order; each is the first layer of its channel group."""
CLASSES = 1000

STEPWISE, AT_END = "layer by layer", "at the end"
DENSE, PRUNED = "dense", "pruned, not retrained"
RETRAINED = {AT_END: "retrained once, at the end", STEPWISE: "retrained after each layer"}
FULL_SIZE = f"sizes at {CLASSES:,} classes"


class Settings(Section):
    network: NetworkSettings
    retrain: FinetuneSection
    """Of one retraining: after each layer, or once at the end."""


def cells(settings: Settings, seeds: int) -> Sequence[Cell]:
    return [{"row": row, "seed": seed} for seed in range(seeds) for row in (AT_END, STEPWISE)]


def run(cell: Cell, context: Context[Settings]) -> Results:
    settings = context.settings
    config = settings.network.config(
        int(cell["seed"]), pruning=PruningSection(round_to=STEP), finetune=settings.retrain
    )
    subject = context.subject(config)
    keep = keep_counts({group.name: group.channels for group in subject.groups})
    if cell["row"] == AT_END:
        return _prune_at_once(subject, keep, context)
    return _prune_stepwise(subject, keep, context)


def keep_counts(channels: Mapping[str, int]) -> dict[str, int]:
    """How many filters stay: the plan's counts at its own widths, else its shares in multiples of 4 filters."""
    kept = {}
    for name, width, removed in zip(GROUPS, WIDTHS, REMOVED, strict=True):
        count = channels[name]
        kept[name] = count - (removed if count == width else min(_rounded(removed / width * count), count - STEP))
    return kept


def _rounded(filters: float) -> int:
    """To the nearest multiple of 4, half a step up: at small widths layers must not all round to nothing."""
    return int(filters / STEP + 0.5) * STEP


def _prune_at_once(subject: Subject, keep: Mapping[str, int], context: Context[Settings]) -> Results:
    """Every layer loses its filters before the network is retrained once."""
    network = subject.network
    for name, count in keep.items():
        network = without_weakest_filters(subject, network, name, count)
    results = {
        DENSE: _figures(subject, subject.network),
        PRUNED: _figures(subject, network),
        FULL_SIZE: _full_size(),
    }
    _retrain(subject, network, context, context.folder / "retrained.pt")
    return {**results, RETRAINED[AT_END]: _figures(subject, network)}


def _prune_stepwise(subject: Subject, keep: Mapping[str, int], context: Context[Settings]) -> Results:
    """A layer loses its filters, the network is retrained; then the next layer."""
    network, validation = subject.network, subject.data.validation
    norms = {name: norm_quantiles(network.get_submodule(name)) for name in keep}
    steps: list[dict[str, Any]] = []
    for index, (name, count) in enumerate(keep.items()):
        context.progress.update(f"pruning {name}", index, len(keep))
        channels = len(filter_norms(network.get_submodule(name)))
        network = without_weakest_filters(subject, network, name, count)
        pruned = subject.evaluate(network, validation)
        _retrain(subject, network, context, context.folder / f"{index}.pt")
        retrained = subject.evaluate(network, validation)
        steps.append(
            {"layer": name, "filters": channels, "kept": count, "pruned": pruned.top1, "retrained": retrained.top1}
        )
    dense = subject.evaluate(subject.network, validation)
    return {
        RETRAINED[STEPWISE]: _figures(subject, network),
        "norms": norms,
        "steps": steps,
        "dense_validation_top1": dense.top1,
    }


def _retrain(subject: Subject, network: nn.Module, context: Context[Settings], checkpoint: Path) -> None:
    subject.fit(network, context.settings.retrain, checkpoint=checkpoint)


def _figures(subject: Subject, network: nn.Module) -> dict[str, Any]:
    from pipeline.pruning.costs import parameter_count

    found: Evaluation = subject.evaluate(network, subject.data.test)
    sizes = _sizes(parameter_count(subject.network), parameter_count(network))
    return {**sizes, "top1": found.top1, "top5": found.top5, "missing": {"top5": "five classes or fewer"}}


def _full_size() -> dict[str, Any]:
    """The same plan at the paper's 1,000 classes; untrained, since sizes are all that is asked."""
    from pipeline.pruning.costs import trace_shape
    from pipeline.pruning.groups import find_groups

    network, shape = models.load("mobilenet_v1", num_classes=CLASSES).eval(), (3, 32, 32)
    groups = find_groups(network, shape, PruningSection(round_to=1, min_keep=1e-6))
    costs = trace_shape(network, groups, shape)
    keep = keep_counts(dict(zip(GROUPS, WIDTHS, strict=True)))
    why = "a question of size alone"
    sizes = _sizes(costs.params({}), costs.params(keep))
    return {**sizes, "top1": None, "top5": None, "missing": {"top1": why, "top5": why}}


def _sizes(before: int, after: int) -> dict[str, Any]:
    return {"params": after, "saved": before - after, "left": after / before}


def rows(cell: Cell, results: Results | None) -> Mapping[str, Figures]:
    labels = (DENSE, PRUNED, FULL_SIZE, RETRAINED[AT_END]) if cell["row"] == AT_END else (RETRAINED[STEPWISE],)
    return {label: results[label] if results else {} for label in labels}


def pictures(finished: Sequence[FinishedCell]) -> Mapping[str, Figure]:
    stepwise = [line for line in finished if line.cell["row"] == STEPWISE]
    if not stepwise:
        return {}
    return {"norms": _draw_norms(stepwise[0].results["norms"]), "layers": _draw_steps(stepwise)}


def _draw_norms(norms: Mapping[str, Sequence[float]]) -> Figure:
    """Each layer's sorted norms over their largest, and where the plan cuts."""
    from matplotlib import colormaps

    from pipeline.report.figures import finish, new_figure

    figure = new_figure(4.8)
    axes = figure.add_subplot()
    shares = [100 * index / (NORM_POINTS - 1) for index in range(NORM_POINTS)]
    for index, (name, values) in enumerate(norms.items()):
        tone = colormaps["cividis"](index / (len(norms) - 1))
        axes.plot(shares, [value / values[-1] for value in values], color=tone, label=name)
    axes.set(xlabel="Filters of the layer with a smaller norm, %", ylabel="L1 norm, over the layer's largest")
    axes.set_ylim(0, 1.02)
    return finish(figure)


def _draw_steps(finished: Sequence[FinishedCell]) -> Figure:
    """Accuracy after each layer's pruning and after the retraining that follows it."""
    from pipeline.report.figures import finish, new_figure

    figure = new_figure()
    axes = figure.add_subplot()
    for number, line in enumerate(finished):
        steps, layers = line.results["steps"], range(1, len(line.results["steps"]) + 1)
        first = number == 0
        axes.axhline(
            100 * line.results["dense_validation_top1"], color="#4d4d4d", lw=0.8, label="dense" if first else None
        )
        for key, tone, marker in (("pruned", "#d55e00", "v"), ("retrained", "#0072b2", "o")):
            heights = [100 * step[key] for step in steps]
            axes.plot(layers, heights, color=tone, marker=marker, ms=4, lw=1, label=key if first else None)
    axes.set(xlabel="Layers pruned so far", ylabel="Top-1 on the validation split, %", xticks=list(layers))
    return finish(figure)


def _scales() -> Iterator[tuple[Scale, Settings]]:
    yield (
        Scale.smoke,
        Settings(
            network=NetworkSettings(
                model=ModelSection(name="mobilenet_v1", options={"width": 0.25}),
                data=DataSection(name="digits", image_size=32),
                baseline=BaselineSection(epochs=1, learning_rate=0.1),
            ),
            retrain=FinetuneSection(epochs=1, learning_rate=0.01),
        ),
    )
    yield (
        Scale.small,
        Settings(
            network=NetworkSettings(
                model=ModelSection(name="mobilenet_v1"),
                data=DataSection(name="glyphs", image_size=48),
                baseline=BaselineSection(epochs=12, batch_size=64, learning_rate=0.1),
            ),
            retrain=FinetuneSection(epochs=1, learning_rate=0.01),
        ),
    )
    yield (
        Scale.paper,
        Settings(
            network=NetworkSettings(
                model=ModelSection(name="mobilenet_v1"),
                data=DataSection(name="imagefolder", image_size=224, root="data/imagenet"),
                baseline=BaselineSection(epochs=90, batch_size=256, learning_rate=0.1),
            ),
            retrain=FinetuneSection(epochs=1, learning_rate=3e-5),
        ),
    )


TABLE = Table(
    title="L1 filter pruning of MobileNet",
    source="002_87b8c24d6cc31293, Babel, Pruning Deep Neural Nets, section Results",
    scales=dict(_scales()),
    cells=cells,
    run=run,
    columns=(
        Column("params", "parameters", 0),
        Column("saved", "saved", 0),
        percent("left", "left", 2),
        percent("top1", "top-1"),
        percent("top5", "top-5"),
    ),
    paper={
        DENSE: {"params": 4_231_976, "top1": 0.671, "top5": 0.864},
        PRUNED: {"params": 3_583_656, "saved": 648_320, "left": 0.8468, "top1": 0.569, "top5": 0.778},
        FULL_SIZE: {"params": 3_583_656, "saved": 648_320, "left": 0.8468},
        RETRAINED[AT_END]: {"params": 3_583_656, "saved": 648_320, "left": 0.8468, "top1": 0.649, "top5": 0.843},
    },
    rows=rows,
    pictures=pictures,
    notes=(
        "The paper describes retraining after each layer, and reports one epoch after the last one: both are run here.",
        "The paper does not say which filters it removed. This plan has exactly its size, and is the nearest to "
        "uniform of all that have.",
        "The paper retrains at a learning rate of 0.00003 with an optimizer that it does not name, on samples of "
        "ImageNet; here it is SGD with Nesterov momentum 0.9, a warm-up and a cosine, on all training images. "
        "Other scales than `paper` retrain at the rate that stands in their settings.",
        "The paper's accuracies are of ImageNet's 1,000 classes, ours of the data set that the settings name.",
    ),
)
