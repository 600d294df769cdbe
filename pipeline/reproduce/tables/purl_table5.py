"""001_147cc4adf19daa6c (PuRL), Table 5: MobileNet-V2's sparsity and the multiply-accumulates that zeros would save.

The paper gives neither its target nor how it counts: here the target is the sparsity that it reached, and a
multiply-accumulate is saved where the weight is zero. AMC, quoted from it, removes channels.

At the scale `small` a step takes about 0.5 s on one core, so that a search takes about half an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.config import FinetuneSection
from pipeline.reproduce.context import Context
from pipeline.reproduce.purl import FINAL, PurlSettings, paper_scale, retraining, search_in_rounds, smoke_scale
from pipeline.reproduce.purl_networks import MOBILENET_V2_PAPER, MOBILENET_V2_SMALL, SMOKE
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, FinishedCell, Results, Table, percent

SPARSITY = 0.433
PURL, AMC = "PuRL", "AMC"


def cells(settings: PurlSettings, seeds: int) -> Sequence[Cell]:
    return [{"row": PURL, "seed": seed} for seed in range(seeds)]


def run(cell: Cell, context: Context[PurlSettings]) -> Results:
    results, _ = search_in_rounds(context.settings, FINAL, int(cell["seed"]), context)
    return results


def findings(finished: Sequence[FinishedCell]) -> Sequence[str]:
    return [_of_seed(line) for line in finished]


def _of_seed(line: FinishedCell) -> str:
    seed, found = f"Seed {line.cell['seed']}", line.results
    if found["top1"] is None:
        return f"{seed}: no plan, {found['missing']['top1']}."
    more = "more" if found["flops_reduction"] > found["sparsity"] else "less"
    return (
        f"{seed}: {found['sparsity']:.1%} of the weights and {found['flops_reduction']:.1%} of the "
        f"multiply-accumulates are saved, {more} of these than of weights (in the paper more), for "
        f"{100 * (found['dense_top1'] - found['top1']):.1f} points of top-1 (paper: 2.1)."
    )


def _scales() -> Iterator[tuple[Scale, PurlSettings]]:
    yield Scale.smoke, smoke_scale(SMOKE, SPARSITY, finetune=FinetuneSection(epochs=1, learning_rate=0.02))
    yield (
        Scale.small,
        PurlSettings(
            network=MOBILENET_V2_SMALL,
            sparsities=(SPARSITY,),
            retrain=retraining(96, 0.003),
            judge_images=256,
            finetune=FinetuneSection(epochs=6, learning_rate=0.02),
        ),
    )
    yield (
        Scale.paper,
        paper_scale(
            MOBILENET_V2_PAPER, SPARSITY, finetune=FinetuneSection(epochs=30, batch_size=256, learning_rate=0.01)
        ),
    )


TABLE = Table(
    title="PuRL on an efficient network: MobileNetV2",
    source="001_147cc4adf19daa6c, PuRL, Table 5",
    scales=dict(_scales()),
    cells=cells,
    run=run,
    columns=(
        percent("sparsity", "sparsity"),
        percent("flops_reduction", "MACs saved"),
        percent("dense_top1", "dense top-1"),
        percent("top1", "top-1"),
    ),
    paper={
        AMC: {"flops_reduction": 0.30, "dense_top1": 0.718, "top1": 0.708},
        PURL: {"sparsity": 0.433, "flops_reduction": 0.479, "dense_top1": 0.719, "top1": 0.698},
    },
    spread="standard error",
    findings=findings,
    notes=(
        "The paper's are of MobileNetV2 on ImageNet, one run; AMC is quoted from it and not run (purl-table5 prunes "
        "weights, AMC channels). Ours are of what the settings name.",
        "MACs saved: those that have a zero weight as a factor. The aim is the sparsity that the paper reached.",
    ),
)
