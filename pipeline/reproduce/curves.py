"""Accuracy against measured speed-up and against compression, one line for each method of a contest."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.reproduce.table import FinishedCell
from pipeline.reproduce.verdicts import OURS, accuracies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#b2a100", "#5d3a9b", "#000000"),
    *("#882255", "#44aa99"),
)
"""Okabe and Ito's, which colour-blind readers can tell apart, and more; markers differ as well."""
MARKERS = "os^vD<>Ph*Xd"
Lines = Mapping[str, Sequence[tuple[float, Sequence[float]]]]
"""By method: of each operating point its place on the x axis, and top-1 of each seed."""


def accuracy_curves(pair: str, finished: Sequence[FinishedCell]) -> Figure:
    """Of the channel methods; the x axis is measured where it was, else the operating point that the table says."""
    measured = _speedups(pair, finished)
    lines = {
        method: [(statistics.fmean(measured.get((method, point), [point])), top1) for point, top1 in points.items()]
        for method, points in accuracies(finished, pair).items()
        if method != "dense"
    }
    figure, axes = _figure(pair, finished, lines)
    axes.set_xlabel(
        "Measured speed-up, dense / pruned" if measured else "Speed-up by the latency table, not measured yet"
    )
    axes.set_title(f"{pair}: accuracy at equal latency", loc="left")
    return figure


def compression_curves(pair: str, finished: Sequence[FinishedCell]) -> Figure:
    """Of the channel and the weight methods; those of weights are dashed."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    figure, axes = _figure(pair, finished, dict(_by_compression(pair, finished)))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("Compression: parameters of the dense network / parameters left that are not zero")
    axes.set_title(f"{pair}: accuracy at equal size", loc="left")
    return figure


def _by_compression(
    pair: str, finished: Sequence[FinishedCell]
) -> Iterator[tuple[str, list[tuple[float, list[float]]]]]:
    points: dict[str, dict[float, list[tuple[float, float]]]] = {}
    for line in finished:
        if line.cell["pair"] == pair and "compression" in line.results:
            point = float(line.cell["sparsity" if line.cell["part"] == "weights" else "speedup"])
            found = points.setdefault(str(line.cell["method"]), {}).setdefault(point, [])
            found.append((float(line.results["compression"]), float(line.results["top1"])))
    for method, by_point in points.items():
        yield (
            method,
            [(statistics.fmean(c for c, _ in seeds), [top1 for _, top1 in seeds]) for seeds in by_point.values()],
        )


def _figure(pair: str, finished: Sequence[FinishedCell], lines: Lines) -> tuple[Figure, Axes]:
    """Means over seeds with their standard deviation, and the dense network's accuracy across."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    axes = figure.subplots()
    for number, (method, unsorted) in enumerate(lines.items()):
        points = sorted(unsorted)
        axes.errorbar(
            [x for x, _ in points],
            [100 * statistics.fmean(top1) for _, top1 in points],
            yerr=[100 * statistics.stdev(top1) if len(top1) > 1 else 0.0 for _, top1 in points],
            label=method,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            linestyle="--" if method.startswith("weights") else "-",
            linewidth=2.4 if method == OURS else 1.2,
            markersize=7 if method == OURS else 5,
            capsize=2,
            zorder=3 if method == OURS else 2,
        )
    if dense := [top1 for values in accuracies(finished, pair).get("dense", {}).values() for top1 in values]:
        axes.axhline(100 * statistics.fmean(dense), color="#444444", linestyle=":", linewidth=1, label="dense")
    axes.set_ylabel("Top-1 on the test images, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure, axes


def _speedups(pair: str, finished: Sequence[FinishedCell]) -> Mapping[tuple[str, float], list[float]]:
    found: dict[tuple[str, float], list[float]] = {}
    for line in finished:
        if line.cell["pair"] == pair and line.cell["part"] == "latency":
            for method, measured in line.results["ratios"].items():
                found.setdefault((method, float(line.cell["speedup"])), []).append(1.0 / measured["ratio"])
    return found
