"""001_147cc4adf19daa6c (PuRL), section 4.4 and Figure 2: a layer's weights before pruning, after it, and fine-tuned.

One threshold for all layers, in units of each layer's own standard deviation (equation 2 with one alpha): that which
prunes the published share of all weights; then fine-tuning, the zeros held. Weights that are zero are
left out of every figure, as in the paper ("on elimination of zero-weights").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import BaselineSection, DataSection, FinetuneSection, ModelSection
from pipeline.reproduce.context import Context
from pipeline.reproduce.network import NetworkSettings
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, Column, Figures, FinishedCell, Results, Table, percent
from pipeline.section import OpenShare, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = ("dense", "pruned", "fine-tuned")
ALL = "all layers"
LAYERS = (2, 9, 32)
"""Those that the paper's text names, counted from 1 in the order in which they run (it does not say from what)."""
SPARSITY = 0.749
REPOPULATED = 0.01
"""Of the weights left: more in the gap than this count as moved back."""
COLOURS = ("#4d4d4d", "#d55e00", "#0072b2")


class Settings(Section):
    network: NetworkSettings
    finetune: FinetuneSection
    sparsity: OpenShare = SPARSITY
    """Share of the weights of all convolutions and linear layers that become zero."""


def cells(settings: Settings, seeds: int) -> Sequence[Cell]:
    return [{"seed": seed} for seed in range(seeds)]


def run(cell: Cell, context: Context[Settings]) -> Results:
    import copy

    from pipeline.pruning.weights import make_weight_plan, sparsity, weight_layers, zero_weights, zeros_of
    from pipeline.reproduce.distributions import alpha_for, describe, over_all_layers

    settings = context.settings
    subject = context.subject(settings.network.config(int(cell["seed"]), finetune=settings.finetune))
    layers = weight_layers(subject.network, subject.input_shape)
    alpha, kept = alpha_for(subject.network, layers, settings.sparsity)
    network = copy.deepcopy(subject.network)
    zero_weights(network, make_weight_plan(subject.architecture, layers, kept, {"alpha": alpha}))
    stages = {"dense": subject.network, "pruned": copy.deepcopy(network)}
    context.progress.update("fine-tuning")
    subject.fit(network, settings.finetune, checkpoint=context.folder / "finetuned.pt", hold=zeros_of(network))
    stages["fine-tuned"] = network
    found: dict[str, Any] = {"alpha": alpha, "sparsity": sparsity(network)}
    for stage, weights in stages.items():
        accuracy = subject.evaluate(weights, subject.data.test)
        described = describe(weights, subject.network, layers, alpha, LAYERS)
        found[stage] = {"top1": accuracy.top1, "layers": described, "over_all": over_all_layers(described)}
    return found


def rows(cell: Cell, results: Results | None) -> Mapping[str, Figures]:
    labels = [f"{layer}, {stage}" for layer in (*(f"layer {n}" for n in LAYERS), ALL) for stage in STAGES]
    if results is None:
        return {label: {} for label in labels}
    return {label: _figures(results, *label.split(", ")) for label in labels}


def _figures(results: Results, layer: str, stage: str) -> Figures:
    found = results[stage]
    if layer == ALL:
        return {**found["over_all"], "top1": found["top1"]}
    one = found["layers"][int(layer.removeprefix("layer ")) - 1]
    return {**one, "missing": {"bimodality": "too few weights are left"}}


def findings(finished: Sequence[FinishedCell]) -> Sequence[str]:
    """The paper's three observations, seed by seed, as they came out here."""
    return [sentence for line in finished for sentence in _observations(line)]


def _observations(line: FinishedCell) -> Iterator[str]:
    dense, pruned, tuned = (line.results[stage]["layers"] for stage in STAGES)
    count, seed = len(dense), f"Seed {line.cell['seed']}"
    shifts = [abs(after["mean"] - before["mean"]) for before, after in zip(dense, tuned, strict=True)]
    far = shifts.index(max(shifts))
    yield (
        f"{seed}: the mean moves most in layer {far + 1} ({dense[far]['layer']}), from {dense[far]['mean']:.4f} to "
        f"{tuned[far]['mean']:.4f}; the paper's example moves from -0.004 to -0.143."
    )
    became = [index for index in range(count) if pruned[index]["bimodal"] and not dense[index]["bimodal"]]
    stayed = sum(tuned[index]["bimodal"] for index in became)
    yield (
        f"{seed}: pruning turns {len(became)} of {count} layers from unimodal to bimodal, and {stayed} of them still "
        "are after fine-tuning; the paper saw none turn back."
    )
    filled = sum(after["in_gap"] > REPOPULATED for after in tuned)
    yield (
        f"{seed}: in {filled} of {count} layers more than {REPOPULATED:.0%} of the weights left move back into the gap "
        "while fine-tuning; the paper saw some do in many layers."
    )


def pictures(finished: Sequence[FinishedCell]) -> Mapping[str, Figure]:
    """The paper's figure, of the first seed: a row for each layer, a column for each stage."""
    import numpy as np

    from pipeline.report.figures import finish, new_figure

    results = finished[0].results
    figure = new_figure(6.4)
    grid = figure.subplots(len(LAYERS), len(STAGES), sharex="row")
    for across, (stage, tone) in enumerate(zip(STAGES, COLOURS, strict=True)):
        for down, number in enumerate(LAYERS):
            one, axes = results[stage]["layers"][number - 1], grid[down][across]
            low, high = one["range"]
            gap, edges = results["alpha"] * one["sigma"], np.linspace(low, high, len(one["histogram"]) + 1)
            heights = [100 * count / one["left"] for count in one["histogram"]]
            axes.axvspan(-gap, gap, color="#f0e442", alpha=0.3, lw=0, label="the gap" if across == down == 0 else None)
            axes.stairs(heights, edges, fill=True, color=tone, label=stage if down == 0 else None)
            axes.axvline(one["mean"], color="black", lw=0.9, ls="--", label="mean" if across == down == 0 else None)
            axes.set_title(f"layer {number}: mean {one['mean']:.4f}", fontsize=8)
            axes.tick_params(labelsize=7)
        grid[-1][across].set_xlabel("weight", fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("of the weights left, %", fontsize=8)
    return {"distributions": finish(figure)}


def _scales() -> Iterator[tuple[Scale, Settings]]:
    yield (
        Scale.smoke,
        Settings(
            network=NetworkSettings(
                model=ModelSection(name="resnet50", options={"width": 0.125}),
                data=DataSection(name="digits", image_size=32),
                baseline=BaselineSection(epochs=2, learning_rate=0.05),
            ),
            finetune=FinetuneSection(epochs=1, learning_rate=0.02),
        ),
    )
    yield (
        Scale.small,
        Settings(
            network=NetworkSettings(
                model=ModelSection(name="resnet50", options={"width": 0.5}),
                data=DataSection(name="glyphs", image_size=48),
                baseline=BaselineSection(epochs=12, batch_size=64, learning_rate=0.1),
            ),
            finetune=FinetuneSection(epochs=6, learning_rate=0.02),
        ),
    )
    yield (
        Scale.paper,
        Settings(
            network=NetworkSettings(
                model=ModelSection(name="resnet50", weights="imagenet"),
                data=DataSection(name="imagefolder", image_size=224, root="data/imagenet"),
                baseline=BaselineSection(),
            ),
            finetune=FinetuneSection(epochs=30, batch_size=256, learning_rate=0.01),
        ),
    )


TABLE = Table(
    title="Weight distributions before pruning, after it, and fine-tuned",
    source="001_147cc4adf19daa6c, PuRL, section 4.4 and Figure 2",
    scales=dict(_scales()),
    cells=cells,
    run=run,
    columns=(
        Column("mean", "mean", 4),
        percent("in_gap", "in the gap"),
        Column("bimodality", "bimodality", 3),
        percent("bimodal", "bimodal"),
        percent("top1", "top-1"),
    ),
    paper={"layer 2, dense": {"mean": -0.004}, "layer 2, fine-tuned": {"mean": -0.143}},
    rows=rows,
    pictures=pictures,
    findings=findings,
    notes=(
        "Of ResNet-50 on ImageNet the paper gives two means of one layer and the sparsity (74.9%) in numbers; the rest "
        "is a figure. It numbers layers without saying from what: here from 1, in the order in which they run.",
        "Here one alpha prunes all layers to 74.9%; the paper's plan is its agent's, and is not published.",
        "Weights that are zero are left out. In the gap: below alpha standard deviations of the dense layer. "
        "Bimodality: Sarle's coefficient (1/3 normal, 5/9 uniform, 1 two points); above 5/9 a layer counts as "
        "bimodal: in which share of the seeds, or of all layers. Of all layers: means over all weights, the median "
        "coefficient.",
        "The picture shows the first seed.",
    ),
)
