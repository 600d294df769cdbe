"""The page's interactive charts as plotly figures in plain dictionaries; the page brings plotly.js along."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pipeline.report.frame import GRID, INK, PAPER, RULE, Figure, axis, error_bars, level, log_axis, new_layout
from pipeline.report.operations import OperationTimes, operation_times
from pipeline.report.reason_charts import reason_chart
from pipeline.report.reasons import reasons
from pipeline.report.results import Results
from pipeline.report.rows import Row
from pipeline.report.series import (
    COLOUR_ACCURACY,
    COLOUR_LATENCY,
    COLOUR_REWARD,
    EpisodePoint,
    Point,
    accuracy_latency,
    colour,
    distributions,
    kept_channels,
    kept_weights,
    learning_curve,
)
from pipeline.report.targets import ratio_words
from pipeline.report.trust_charts import hybrid_error_chart, staircase_charts

SYMBOLS = {
    "fp32": "circle",
    "fp16": "square",
    "int8": "diamond",
    "dynamic": "triangle-up",
    "palette6": "cross",
    "fp32-sparse": "triangle-down",
    "fp16-sparse": "triangle-left",
}
DASHES = {"fp32": "solid", "fp16": "dash", "int8": "dot", "dynamic": "dashdot"}


def build_charts(results: Results, rows: tuple[Row, ...]) -> dict[str, Figure | None]:
    """All charts by name, in the order of the page; None where the run has nothing to draw."""
    return {
        "accuracy_latency": _accuracy_latency(results, rows),
        "latency": _latency(rows),
        "kept_channels": _kept_channels(results),
        "kept_weights": _kept_weights(results),
        "operations": _operations(results, operation_times(rows)),
        "reasons": reason_chart(reasons(results)),
        "learning_curve": _learning_curve(results),
        "hybrid_error": hybrid_error_chart(results),
        **staircase_charts(results),
    }


def _accuracy_latency(results: Results, rows: tuple[Row, ...]) -> Figure | None:
    points = accuracy_latency(rows)
    if not points:
        return None
    names = tuple(variant.name for variant in results.variants)
    variants = dict.fromkeys(point.variant for point in points)
    traces = [
        _points_of(name, [point for point in points if point.variant == name], colour(name, names)) for name in variants
    ]
    keys = [_precision_key(precision) for precision in dict.fromkeys(point.precision for point in points)]
    layout = new_layout(
        xaxis=log_axis("Median latency, ms (log)", [point.latency_ms for point in points]),
        yaxis=axis("Top-1 on the test split, %"),
    )
    return {"data": [*traces, *keys], "layout": layout}


def _points_of(variant: str, points: Sequence[Point], tone: str) -> Figure:
    x, y = [point.latency_ms for point in points], [100 * point.top1 for point in points]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(variant),
        "x": x,
        "y": y,
        "error_x": error_bars(x, [point.latency_ci95 for point in points], tone),
        "error_y": error_bars(y, [(100 * point.top1_ci95[0], 100 * point.top1_ci95[1]) for point in points], tone),
        "marker": {
            "color": tone,
            "size": 10,
            "symbol": [SYMBOLS.get(point.precision, "star") for point in points],
            "line": {"color": PAPER, "width": 1},
        },
        "text": [f"{escape(point.label)}<br>{escape(point.device)}" for point in points],
        "hovertemplate": "%{text}<br>%{x:.4g} ms, top-1 %{y:.1f}%<extra></extra>",
    }


def _precision_key(precision: str) -> Figure:
    """A line of the legend for a precision's symbol; it draws no point."""
    symbol, line = SYMBOLS.get(precision, "star"), {"color": INK, "width": 1.2}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(precision),
        "x": [None],
        "y": [None],
        "marker": {"color": PAPER, "size": 9, "symbol": symbol, "line": line},
        "hoverinfo": "skip",
    }


def _latency(rows: tuple[Row, ...]) -> Figure | None:
    curves = distributions(rows)
    if not curves:
        return None
    names = tuple(curve.variant for curve in curves)
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": escape(curve.label),
            "x": curve.latency_ms,
            "y": [100 * share for share in curve.share],
            "line": {
                "color": colour(curve.variant, names),
                "width": 1.8,
                "shape": "hv",
                "dash": DASHES.get(curve.precision, "longdash"),
            },
            "hovertemplate": "%{y:.0f}% within %{x:.4g} ms<extra>%{fullData.name}</extra>",
        }
        for curve in curves
    ]
    layout = new_layout(
        xaxis=log_axis("Latency of one inference, ms (log)", [x for curve in curves for x in curve.latency_ms]),
        yaxis=axis("Inferences done within it, %", range=[0, 101]),
    )
    return {"data": traces, "layout": layout}


def _kept_channels(results: Results) -> Figure | None:
    kept = kept_channels(results)
    if kept is None:
        return None
    names = tuple(variant.name for variant in results.variants)
    x = [escape(group) for group in kept.groups]
    dense = {
        "type": "bar",
        "name": "dense",
        "x": x,
        "y": kept.dense,
        "marker": {"color": GRID, "line": {"color": RULE, "width": 1}},
        "hovertemplate": "%{x}<br>dense: %{y} channels<extra></extra>",
        "width": 0.9,
    }
    width = 0.8 / len(kept.kept)
    bars = [
        {
            "type": "bar",
            "name": escape(name),
            "x": x,
            "y": counts,
            "offset": -0.4 + index * width,
            "width": width,
            "marker": {"color": colour(name, names)},
            "hovertemplate": "%{x}<br>%{fullData.name}: %{y} channels<extra></extra>",
        }
        for index, (name, counts) in enumerate(kept.kept.items())
    ]
    dense["offset"] = -0.45
    xaxis = axis("", type="category", tickangle=-60, tickfont={"size": 10})
    layout = new_layout(xaxis=xaxis, yaxis=axis("Channels kept"), barmode="overlay")
    return {"data": [dense, *bars], "layout": layout}


def _kept_weights(results: Results) -> Figure | None:
    kept = kept_weights(results)
    if kept is None:
        return None
    names = tuple(variant.name for variant in results.variants)
    bars = [
        {
            "type": "bar",
            "name": escape(name),
            "x": [escape(layer) for layer in kept.layers],
            "y": [100 * share for share in shares],
            "marker": {"color": colour(name, names)},
            "hovertemplate": "%{x}<br>%{fullData.name}: %{y:.1f}% of the weights<extra></extra>",
        }
        for name, shares in kept.kept.items()
    ]
    xaxis = axis("", type="category", tickangle=-60, tickfont={"size": 10})
    layout = new_layout(xaxis=xaxis, yaxis=axis("Weights kept, %"), barmode="group", bargap=0.25)
    return {"data": bars, "layout": layout}


def _operations(results: Results, times: OperationTimes | str) -> Figure | None:
    if isinstance(times, str):
        return None
    names = tuple(variant.name for variant in results.variants)
    blocks = [escape(block) for block in times.blocks]
    bars = [
        {
            "type": "bar",
            "name": escape(name),
            "x": blocks,
            "y": block_ms,
            "marker": {"color": colour(name, names)},
            "hovertemplate": "%{x}<br>%{fullData.name}: %{y:.3f} ms<extra></extra>",
        }
        for name, block_ms in times.block_ms.items()
    ]
    xaxis = axis("", type="category", tickangle=-60, tickfont={"size": 10})
    layout = new_layout(xaxis=xaxis, yaxis=axis("Time of one inference, ms"), barmode="group", bargap=0.25)
    return {"data": bars, "layout": layout}


def _learning_curve(results: Results) -> Figure | None:
    points = learning_curve(results)
    if not points:
        return None
    shapes = ["circle" if point.kind == "explore" else "star" for point in points]
    cost_shapes = [f"{shape}-open" if point.modelled else shape for shape, point in zip(shapes, points, strict=True)]
    best = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": [point.index for point in points],
        "y": [point.best_reward for point in points],
        "yaxis": "y3",
        "line": {"color": COLOUR_REWARD, "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
    }
    traces = [
        _episodes("reward", "y3", points, [point.reward for point in points], COLOUR_REWARD, shapes),
        best,
        _episodes("validation top-1", "y2", points, [_percent(p.top1) for p in points], COLOUR_ACCURACY, shapes),
        _episodes("cost", "y", points, [p.cost_ratio for p in points], COLOUR_LATENCY, cost_shapes),
    ]
    target = results.search.target_ratio if results.search else None
    layout = new_layout(
        xaxis=axis("Episode", anchor="y"),
        yaxis=axis(ratio_words(results), domain=[0, 0.29], rangemode="tozero"),
        yaxis2=axis("Top-1, %", domain=[0.355, 0.645]),
        yaxis3=axis("Reward", domain=[0.71, 1]),
        shapes=[] if target is None else [level(target, dash="dash")],
        height=520,
    )
    return {"data": traces, "layout": layout}


def _episodes(
    name: str, yaxis: str, points: Sequence[EpisodePoint], y: list[float | None], tone: str, symbols: list[str]
) -> Figure:
    """One point for each episode."""
    kinds = [f"{escape(point.kind)}{' failed: ' + escape(point.failure) if point.failure else ''}" for point in points]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [point.index for point in points],
        "y": y,
        "yaxis": yaxis,
        "marker": {"color": tone, "size": 6, "symbol": symbols},
        "text": kinds,
        "hovertemplate": "episode %{x} (%{text}): %{y:.4g}<extra>%{fullData.name}</extra>",
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
