"""Accuracy against measured speed-up, one line for each method of a contest."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.reproduce.table import FinishedCell
from pipeline.reproduce.verdicts import OURS, accuracies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#b2a100", "#5d3a9b", "#000000")
"""Okabe and Ito's, which colour-blind readers can tell apart, and three more; markers differ as well."""
MARKERS = "os^vD<>Ph*"


def accuracy_curves(pair: str, finished: Sequence[FinishedCell]) -> Figure:
    """Means over seeds with their standard deviation; the x axis is measured where it was, else the table's answer."""
    from matplotlib.figure import Figure

    found = accuracies(finished, pair)
    measured = _speedups(pair, finished)
    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    axes = figure.subplots()
    methods = [method for method in found if method != "dense"]
    for number, method in enumerate(methods):
        points = sorted(found[method])
        x = [statistics.fmean(measured.get((method, point), [point])) for point in points]
        y = [100 * statistics.fmean(found[method][point]) for point in points]
        bars = [100 * statistics.stdev(v) if len(v) > 1 else 0.0 for v in (found[method][p] for p in points)]
        axes.errorbar(
            x,
            y,
            yerr=bars,
            label=method,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            linewidth=2.4 if method == OURS else 1.2,
            markersize=7 if method == OURS else 5,
            capsize=2,
            zorder=3 if method == OURS else 2,
        )
    if dense := [value for values in found.get("dense", {}).values() for value in values]:
        axes.axhline(100 * statistics.fmean(dense), color="#444444", linestyle="--", linewidth=1, label="dense")
    axes.set_xlabel(
        "Measured speed-up, dense / pruned" if measured else "Speed-up by the latency table, not measured yet"
    )
    axes.set_ylabel("Top-1 on the test images, %")
    axes.set_title(f"{pair}: accuracy at equal latency", loc="left")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def _speedups(pair: str, finished: Sequence[FinishedCell]) -> Mapping[tuple[str, float], list[float]]:
    found: dict[tuple[str, float], list[float]] = {}
    for line in finished:
        if line.cell["pair"] == pair and line.cell["part"] == "latency":
            for method, measured in line.results["ratios"].items():
                found.setdefault((method, float(line.cell["speedup"])), []).append(1.0 / measured["ratio"])
    return found
