"""001_147cc4adf19daa6c (PuRL), Table 2: the state of 3 numbers against that of 108, on harder data.

The paper gives no target for it; here it is the 80% that its Table 4 aims at on the same network and data.

At the scale `small` a cell takes about as long as one of purl-table1, a quarter of an hour.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.reproduce import purl_ablation
from pipeline.reproduce.purl import FINAL, Design, PurlSettings, paper_scale, smoke_scale
from pipeline.reproduce.purl_ablation import COLUMNS, Claim, judge, learning, learning_curves, scatter
from pipeline.reproduce.purl_networks import RESNET50_PAPER, RESNET50_SMALL, SMOKE
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, FinishedCell, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOW, HIGH = "low dimensional state", "higher dimensional state"
DESIGNS = {LOW: Design(sigma_step=0.2), HIGH: FINAL}
PAPER = {
    LOW: {"top1": (0.476, 0.023), "sparsity": (0.874, 0.013)},
    HIGH: {"top1": (0.510, 0.003), "sparsity": (0.820, 0.020)},
}
SPARSITY = 0.8


def cells(settings: PurlSettings, seeds: int) -> Sequence[Cell]:
    return purl_ablation.cells(DESIGNS, seeds)


def findings(finished: Sequence[FinishedCell]) -> Sequence[str]:
    return [*judge((Claim(HIGH, LOW),), PAPER, finished), *learning((LOW, HIGH), finished)]


def pictures(finished: Sequence[FinishedCell]) -> Mapping[str, Figure]:
    return {"accuracy": scatter(finished, PAPER), "learning": learning_curves((LOW, HIGH), finished)}


def _scales() -> Iterator[tuple[Scale, PurlSettings]]:
    yield Scale.smoke, smoke_scale(SMOKE, SPARSITY)
    yield Scale.small, purl_ablation.small_scale(RESNET50_SMALL, SPARSITY)
    yield Scale.paper, paper_scale(RESNET50_PAPER, SPARSITY)


TABLE = Table(
    title="PuRL's two states on harder data",
    source="001_147cc4adf19daa6c, PuRL, Table 2",
    scales=dict(_scales()),
    cells=cells,
    run=functools.partial(purl_ablation.run, DESIGNS),
    columns=COLUMNS,
    paper=PAPER,
    spread="standard error",
    pictures=pictures,
    findings=findings,
    notes=(
        "As in purl-table1, with steps of 0.2 sigma. The paper's are of ResNet-50 on ImageNet, ours of what the "
        "settings name. The paper gives no target; here it is 80% sparsity at one point below the dense accuracy.",
    ),
)
