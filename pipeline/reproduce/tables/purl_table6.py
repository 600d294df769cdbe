"""001_147cc4adf19daa6c (PuRL), Table 6: EfficientNet-B2, 116 layers, against uniform pruning at 59%; early stops.

Below chance an episode is given up: on ImageNet that is the paper's 0.1%. How long it fine-tunes is not said; at the
scale `paper` it is the 30 epochs of its ResNet-50.

At the scale `small` a step takes about 0.4 s on one core, so that a search takes at most 50 minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config import FinetuneSection
from pipeline.reproduce.purl import PurlSettings, paper_scale, retraining, smoke_scale
from pipeline.reproduce.purl_against_uniform import COLUMNS, PURL, UNIFORM, cells, findings, run
from pipeline.reproduce.purl_networks import EFFICIENTNET_B2_PAPER, EFFICIENTNET_B2_SMALL, SMOKE
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Table

SPARSITY = 0.59


def _scales() -> Iterator[tuple[Scale, PurlSettings]]:
    yield (
        Scale.smoke,
        smoke_scale(SMOKE, SPARSITY, stop_early=True, finetune=FinetuneSection(epochs=1, learning_rate=0.02)),
    )
    yield (
        Scale.small,
        PurlSettings(
            network=EFFICIENTNET_B2_SMALL,
            sparsities=(SPARSITY,),
            retrain=retraining(96, 0.003),
            judge_images=256,
            stop_early=True,
            finetune=FinetuneSection(epochs=6, learning_rate=0.02),
        ),
    )
    yield (
        Scale.paper,
        paper_scale(
            EFFICIENTNET_B2_PAPER,
            SPARSITY,
            stop_early=True,
            finetune=FinetuneSection(epochs=30, batch_size=256, learning_rate=0.01),
        ),
    )


TABLE = Table(
    title="PuRL against uniform pruning: EfficientNet-B2",
    source="001_147cc4adf19daa6c, PuRL, Table 6",
    scales=dict(_scales()),
    cells=cells,
    run=run,
    columns=COLUMNS,
    paper={
        UNIFORM: {"sparsity": 0.590, "dense_top1": 0.798, "top1": 0.689},
        PURL: {"sparsity": 0.595, "dense_top1": 0.798, "top1": 0.745},
    },
    spread="standard error",
    findings=findings,
    notes=(
        "The paper's are of EfficientNet-B2 on ImageNet, one run; ours of what the settings name.",
        "An episode is given up when accuracy falls below chance after a layer: 0.1% of ImageNet's 1,000 classes.",
        "The last row is not in the paper: PuRL need not meet the target, and a baseline with more zeros is no match.",
    ),
)
