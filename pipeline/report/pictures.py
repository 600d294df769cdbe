"""The same charts as PNG files, for a README or a slide."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from pipeline.report.figures import finish, new_figure, plain, save
from pipeline.report.operations import OperationTimes, operation_times
from pipeline.report.reason_charts import reason_picture
from pipeline.report.reasons import reasons
from pipeline.report.results import Results
from pipeline.report.rows import Row
from pipeline.report.series import (
    COLOUR_ACCURACY,
    COLOUR_LATENCY,
    COLOUR_REWARD,
    FEW_EDGES,
    accuracy_latency,
    colour,
    distributions,
    hybrid_errors,
    kept_channels,
    kept_weights,
    learning_curve,
    log_ticks,
    staircases,
)
from pipeline.report.table_facts import BAND
from pipeline.report.targets import ratio_words

MARKERS = {
    "fp32": "o",
    "fp16": "s",
    "int8": "D",
    "dynamic": "^",
    "palette6": "P",
    "fp32-sparse": "v",
    "fp16-sparse": "<",
}
LINES = {"fp32": "-", "fp16": "--", "int8": ":", "dynamic": "-."}


def write_pictures(results: Results, rows: tuple[Row, ...], out_dir: Path) -> None:
    """Write each picture that there is data for; a stale one of an earlier report goes."""
    drawings: dict[str, Callable[[], Figure | None]] = {
        "accuracy_latency.png": lambda: _accuracy_latency(results, rows),
        "latency.png": lambda: _latency(rows),
        "kept_channels.png": lambda: _kept_channels(results),
        "kept_weights.png": lambda: _kept_weights(results),
        "operations.png": lambda: _operations(results, operation_times(rows)),
        "reasons.png": lambda: reason_picture(reasons(results)),
        "learning_curve.png": lambda: _learning_curve(results),
        "hybrid_error.png": lambda: _hybrid_error(results),
        "staircases.png": lambda: _staircases(results),
    }
    for name, draw in drawings.items():
        figure = draw()
        if figure is None:
            (out_dir / name).unlink(missing_ok=True)
            continue
        save(figure, out_dir / name)


def _accuracy_latency(results: Results, rows: tuple[Row, ...]) -> Figure | None:
    points = accuracy_latency(rows)
    if not points:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    names = tuple(variant.name for variant in results.variants)
    for point in points:
        low, high = point.latency_ci95 or (point.latency_ms, point.latency_ms)
        tone = colour(point.variant, names)
        marker = MARKERS.get(point.precision, "*")
        axes.plot(point.latency_ms, 100 * point.top1, marker, color=tone, label=plain(point.label))
        axes.errorbar(
            point.latency_ms,
            100 * point.top1,
            # A stored interval may miss its figure by rounding; an error bar has no negative length.
            xerr=[[max(point.latency_ms - low, 0)], [max(high - point.latency_ms, 0)]],
            yerr=[[max(100 * (point.top1 - point.top1_ci95[0]), 0)], [max(100 * (point.top1_ci95[1] - point.top1), 0)]],
            fmt="none",
            ecolor=tone,
            capsize=2.5,
        )
    _log_axis(axes, [point.latency_ms for point in points])
    axes.set(xlabel="Median latency, ms (log)", ylabel="Top-1 on the test split, %")
    return finish(figure)


def _latency(rows: tuple[Row, ...]) -> Figure | None:
    curves = distributions(rows)
    if not curves:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    names = tuple(curve.variant for curve in curves)
    for curve in curves:
        axes.step(
            curve.latency_ms,
            [100 * share for share in curve.share],
            where="post",
            color=colour(curve.variant, names),
            linestyle=LINES.get(curve.precision, (0, (5, 1))),
            label=plain(curve.label),
        )
    _log_axis(axes, [x for curve in curves for x in curve.latency_ms])
    axes.set(xlabel="Latency of one inference, ms (log)", ylabel="Inferences done within it, %", ylim=(0, 101))
    return finish(figure)


def _kept_channels(results: Results) -> Figure | None:
    kept = kept_channels(results)
    if kept is None:
        return None
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    places = range(len(kept.groups))
    names = tuple(variant.name for variant in results.variants)
    axes.bar(places, kept.dense, width=0.9, color="#e4e7eb", edgecolor="#9aa5b1", linewidth=0.7, label="dense")
    _bars(axes, kept.kept, kept.groups, names)
    axes.set(ylabel="Channels kept")
    return finish(figure)


def _kept_weights(results: Results) -> Figure | None:
    kept = kept_weights(results)
    if kept is None:
        return None
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    names = tuple(variant.name for variant in results.variants)
    percents = {name: [100 * share for share in shares] for name, shares in kept.kept.items()}
    _bars(axes, percents, kept.layers, names)
    axes.set(ylabel="Weights kept, %")
    return finish(figure)


def _bars(axes: Axes, series: Mapping[str, Sequence[float]], places: Sequence[str], names: tuple[str, ...]) -> None:
    """One bar of each series, side by side, at each place."""
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        shifted = [place - 0.4 + (index + 0.5) * width for place in range(len(places))]
        axes.bar(shifted, values, width=width, color=colour(name, names), label=plain(name))
    axes.set_xticks(range(len(places)), [plain(place) for place in places], rotation=60, ha="right", fontsize=7)


def _operations(results: Results, times: OperationTimes | str) -> Figure | None:
    if isinstance(times, str):
        return None
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    names = tuple(variant.name for variant in results.variants)
    _bars(axes, times.block_ms, times.blocks, names)
    axes.set(ylabel="Time of one inference, ms")
    return finish(figure)


def _learning_curve(results: Results) -> Figure | None:
    points = learning_curve(results)
    if not points:
        return None
    figure = new_figure(5.4)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    x = [point.index for point in points]
    top.plot(x, [point.reward for point in points], ".", color=COLOUR_REWARD, label="episode's reward")
    top.step(x, [point.best_reward for point in points], where="post", color=COLOUR_REWARD, label="best so far")
    top.set(ylabel="Reward")
    accurate = [(point.index, 100 * point.top1) for point in points if point.top1 is not None]
    middle.plot(*_columns(accurate), ".", color=COLOUR_ACCURACY, label="validation top-1")
    middle.set(ylabel="Validation top-1, %")
    for modelled, face in ((False, COLOUR_LATENCY), (True, "none")):
        costs = [(p.index, p.cost_ratio) for p in points if p.cost_ratio is not None and p.modelled == modelled]
        how = "measured" if results.config.search.target.cost == "latency" else "counted"
        label = "latency from the table (a model)" if modelled else how
        if costs:
            bottom.plot(*_columns(costs), "o", ms=4, mec=COLOUR_LATENCY, mfc=face, label=label)
    if results.search and results.search.target_ratio is not None:
        bottom.axhline(results.search.target_ratio, color="#1f2933", linestyle="--", linewidth=1, label="target")
    bottom.set(xlabel="Episode", ylabel=ratio_words(results))
    return finish(figure)


def _hybrid_error(results: Results) -> Figure | None:
    errors = hybrid_errors(results)
    if not errors:
        return None
    figure = new_figure(3.2)
    axes = figure.add_subplot()
    axes.axhspan(-100 * BAND, 100 * BAND, color=COLOUR_ACCURACY, alpha=0.15, label=f"\u00b1{100 * BAND:g}%")
    axes.axhline(0, color="#1f2933", linewidth=1)
    axes.plot(range(1, len(errors) + 1), errors, "o", ms=4, color=COLOUR_LATENCY, label="latency table while searching")
    axes.set(xlabel="Measurement of the search", ylabel="Predicted / measured \u2212 1, %")
    return finish(figure)


def _staircases(results: Results) -> Figure | None:
    found = staircases(results)
    if not found:
        return None
    columns = min(3, len(found))
    lines = math.ceil(len(found) / columns)
    figure = new_figure(0.4 + 2.1 * lines)
    for place, one in enumerate(found):
        axes = figure.add_subplot(lines, columns, place + 1)
        cost_ms = dict(zip(one.channels, one.latency_ms, strict=True))
        told = {"steps": "layers alone", "edges": "right edge of a step"} if place == 0 else {}
        axes.step(one.channels, one.latency_ms, where="pre", color=COLOUR_REWARD, linewidth=1, label=told.get("steps"))
        edges_ms = [cost_ms[edge] for edge in one.edges]
        size = 3.5 if len(one.edges) <= FEW_EDGES else 1.5
        axes.plot(one.edges, edges_ms, "D", ms=size, color=COLOUR_LATENCY, label=told.get("edges"))
        axes.set(xlim=(0, None), ylim=(0, None), xlabel="Channels", ylabel="ms")
        axes.set_title(plain(one.group), fontsize=8, loc="left")
        axes.tick_params(labelsize=7)
    return finish(figure)


def _log_axis(axes: Axes, values: list[float]) -> None:
    ticks = log_ticks(values)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _columns(pairs: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
