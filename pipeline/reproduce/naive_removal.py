"""The benchmark of the explainable poster (000_accc842e532b0134): channels removed by weight, and the collapse.

Every channel group of the network loses the same share of its channels, the least important ones first. The network is
tested at once and after one epoch of training, at growing shares; with them grows the theoretical speed-up, which is
the dense network's multiply-accumulates over those that are left. Each share starts from the dense network again.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import FinetuneSection, PruningSection
from pipeline.reproduce.context import Context
from pipeline.reproduce.network import NetworkSettings
from pipeline.reproduce.table import FinishedCell
from pipeline.section import OpenShare, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_WEIGHT = "l1"
IMPORTANCES = (BY_WEIGHT, "random", "bn_scale", "taylor")
MIN_KEEP = 1e-6
TONES = ("#0072b2", "#7f7f7f", "#009e73", "#d55e00")


class Removal(Section):
    network: NetworkSettings
    shares: tuple[OpenShare, ...]
    """Of each group's channels, that are removed; rising."""
    recovery: FinetuneSection


def run(settings: Removal, importance: str, seed: int, context: Context[Any]) -> dict[str, Any]:
    """The curve of one importance: dense top-1, and one point for each share."""
    from pipeline.pruning.channels import make_plan
    from pipeline.search.uniform import round_grid, uniform_counts

    pruning = PruningSection.model_validate({"importance": importance, "round_to": 1, "min_keep": MIN_KEEP})
    config = settings.network.config(seed, pruning=pruning)
    subject = context.subject(config)
    grid, dense_macs = round_grid(subject.groups, pruning), subject.shape.macs({})
    points = []
    for number, share in enumerate(settings.shares):
        context.progress.update(f"removing {share:.0%} of the channels", number, len(settings.shares))
        kept = uniform_counts(grid, 1.0 - share)
        slim = subject.slim(make_plan(subject.architecture, subject.groups, kept, subject.scores, {}))
        raw = subject.evaluate(slim, subject.data.test).top1
        subject.fit(slim, settings.recovery, checkpoint=context.folder / f"{number}.pt")
        points.append(
            {
                "share": share,
                "speedup": dense_macs / subject.shape.macs(kept),
                "raw_top1": raw,
                "top1": subject.evaluate(slim, subject.data.test).top1,
            }
        )
    dense = subject.evaluate(subject.network, subject.data.test).top1
    return {"dense_top1": dense, "chance": 1.0 / len(subject.data.classes), "points": points}


def findings(finished: Sequence[FinishedCell]) -> list[str]:
    """Of each importance: how much may go before half of the accuracy is gone, and what an epoch brings back there."""
    sentences = []
    for importance in IMPORTANCES:
        lines = [line for line in finished if line.cell["importance"] == importance]
        if not lines:
            continue
        dense = statistics.fmean(line.results["dense_top1"] for line in lines)
        curve = mean_curve(lines)
        halved = next((point for point in curve if point["raw_top1"] < dense / 2), None)
        if halved is None:
            sentences.append(
                f"{importance}: up to {curve[-1]['share']:.0%} of the channels removed, more than half of the dense "
                f"{dense:.1%} is left; the poster saw accuracy collapse."
            )
            continue
        lost = dense - halved["top1"]
        back = "less than a point below" if lost < 0.01 else f"{100 * lost:.1f} points less"
        sentences.append(
            f"{importance}: without retraining top-1 falls from {dense:.1%} to {halved['raw_top1']:.1%} when "
            f"{halved['share']:.0%} of each layer's channels go ({halved['speedup']:.1f}x in theory); an epoch brings "
            f"back {halved['top1']:.1%}, {back} (the poster: hard to recover with one epoch)."
        )
    return sentences


def mean_curve(lines: Sequence[FinishedCell]) -> list[Mapping[str, float]]:
    """Means over seeds, share by share."""
    points = zip(*(line.results["points"] for line in lines), strict=True)
    return [{key: statistics.fmean(one[key] for one in of_share) for key in of_share[0]} for of_share in points]


def picture(finished: Sequence[FinishedCell]) -> Figure:
    """Accuracy against theoretical speed-up, without retraining and after one epoch."""
    from pipeline.report.figures import finish, new_figure

    figure = new_figure()
    both = figure.subplots(1, 2, sharey=True)
    for importance, tone in zip(IMPORTANCES, TONES, strict=True):
        lines = [line for line in finished if line.cell["importance"] == importance]
        if not lines:
            continue
        curve = mean_curve(lines)
        dense = statistics.fmean(line.results["dense_top1"] for line in lines)
        speedups = [1.0, *(point["speedup"] for point in curve)]
        for axes, key in zip(both, ("raw_top1", "top1"), strict=True):
            heights = [100 * dense, *(100 * point[key] for point in curve)]
            label = importance if key == "top1" else None
            axes.plot(speedups, heights, color=tone, marker="o", ms=3, label=label)
    for axes, title in zip(both, ("not retrained", "after one epoch"), strict=True):
        axes.set(xscale="log", xlabel="Theoretical speed-up (MACs), x", title=title)
    both[0].set_ylabel("Top-1 on the test split, %")
    return finish(figure)
