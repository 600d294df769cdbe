"""The page's interactive charts as plotly figures in plain dictionaries; the page brings plotly.js along."""

from __future__ import annotations

from html import escape
from typing import Any

from pipeline.report.operations import OperationTimes, operation_times
from pipeline.report.results import Results
from pipeline.report.rows import Row
from pipeline.report.series import (
    COLOUR_ACCURACY,
    COLOUR_LATENCY,
    COLOUR_REWARD,
    accuracy_latency,
    colour,
    distributions,
    kept_channels,
    learning_curve,
    log_ticks,
)

Figure = dict[str, Any]

SYMBOLS = {"fp32": "circle", "fp16": "square", "int8": "diamond", "dynamic": "triangle-up", "palette6": "cross"}
DASHES = {"fp32": "solid", "fp16": "dash", "int8": "dot", "dynamic": "dashdot"}
INK, GRID = "#1f2933", "#e4e7eb"
PLOTLY_CONFIG = {"displayModeBar": False, "responsive": True}


def build_charts(results: Results, rows: tuple[Row, ...]) -> dict[str, Figure | None]:
    """All charts by name, in the order of the page; None where the run has nothing to draw."""
    return {
        "accuracy_latency": _accuracy_latency(results, rows),
        "latency": _latency(rows),
        "kept_channels": _kept_channels(results),
        "operations": _operations(results, operation_times(rows)),
        "learning_curve": _learning_curve(results),
    }


def _layout(**own: Any) -> Figure:
    # The legend lies above the plot and the margins adapt, so that a phone's width keeps the plot wide.
    base: Figure = {
        "font": {
            "family": "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
            "size": 12,
            "color": INK,
        },
        "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        "hovermode": "closest",
    }
    return base | own


def _axis(title: str, **own: Any) -> Figure:
    line = {"gridcolor": GRID, "zeroline": False, "linecolor": "#9aa5b1", "ticks": "outside", "tickcolor": "#9aa5b1"}
    return line | {"title": {"text": title, "standoff": 8}, "automargin": True} | own


def _log_axis(title: str, values: list[float]) -> Figure:
    ticks = log_ticks(values)
    return _axis(title, type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def _error_bars(centres: list[float], bounds: list[tuple[float, float] | None], tone: str) -> Figure:
    return {
        "type": "data",
        "symmetric": False,
        "array": [b[1] - c if b else 0 for c, b in zip(centres, bounds, strict=True)],
        "arrayminus": [c - b[0] if b else 0 for c, b in zip(centres, bounds, strict=True)],
        "color": tone,
        "thickness": 1.2,
        "width": 3,
    }


def _accuracy_latency(results: Results, rows: tuple[Row, ...]) -> Figure | None:
    points = accuracy_latency(rows)
    if not points:
        return None
    names = tuple(variant.name for variant in results.variants)
    traces = []
    for variant in dict.fromkeys(point.variant for point in points):
        own = [point for point in points if point.variant == variant]
        tone = colour(variant, names)
        x, y = [point.latency_ms for point in own], [100 * point.top1 for point in own]
        top1_bounds = [(100 * point.top1_ci95[0], 100 * point.top1_ci95[1]) for point in own]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escape(variant),
                "x": x,
                "y": y,
                "error_x": _error_bars(x, [point.latency_ci95 for point in own], tone),
                "error_y": _error_bars(y, list(top1_bounds), tone),
                "marker": {
                    "color": tone,
                    "size": 10,
                    "symbol": [SYMBOLS.get(point.precision, "star") for point in own],
                    "line": {"color": "#ffffff", "width": 1},
                },
                "text": [f"{escape(point.label)}<br>{escape(point.device)}" for point in own],
                "hovertemplate": "%{text}<br>%{x:.4g} ms, top-1 %{y:.1f}%<extra></extra>",
            }
        )
    shapes = {point.precision: None for point in points}
    legend_only = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": escape(precision),
            "x": [None],
            "y": [None],
            "marker": {
                "color": "#ffffff",
                "size": 9,
                "symbol": SYMBOLS.get(precision, "star"),
                "line": {"color": INK, "width": 1.2},
            },
            "hoverinfo": "skip",
        }
        for precision in shapes
    ]
    layout = _layout(
        xaxis=_log_axis("Median latency, ms (log)", [point.latency_ms for point in points]),
        yaxis=_axis("Top-1 on the test split, %"),
    )
    return {"data": [*traces, *legend_only], "layout": layout}


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
    layout = _layout(
        xaxis=_log_axis("Latency of one inference, ms (log)", [x for curve in curves for x in curve.latency_ms]),
        yaxis=_axis("Inferences done within it, %", range=[0, 101]),
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
        "marker": {"color": "#e4e7eb", "line": {"color": "#9aa5b1", "width": 1}},
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
    xaxis = _axis("", type="category", tickangle=-60, tickfont={"size": 10})
    layout = _layout(xaxis=xaxis, yaxis=_axis("Channels kept"), barmode="overlay")
    return {"data": [dense, *bars], "layout": layout}


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
    xaxis = _axis("", type="category", tickangle=-60, tickfont={"size": 10})
    layout = _layout(xaxis=xaxis, yaxis=_axis("Time of one inference, ms"), barmode="group", bargap=0.25)
    return {"data": bars, "layout": layout}


def _learning_curve(results: Results) -> Figure | None:
    points = learning_curve(results)
    if not points:
        return None
    x = [point.index for point in points]
    kinds = [f"{escape(point.kind)}{' failed: ' + escape(point.failure) if point.failure else ''}" for point in points]

    def series(name: str, axis: str, y: list[float | None], tone: str, symbols: list[str]) -> Figure:
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": x,
            "y": y,
            "yaxis": axis,
            "marker": {"color": tone, "size": 6, "symbol": symbols},
            "text": kinds,
            "hovertemplate": "episode %{x} (%{text}): %{y:.4g}<extra>%{fullData.name}</extra>",
        }

    shapes = ["circle" if point.kind == "explore" else "star" for point in points]
    latency_shapes = [f"{shape}-open" if point.modelled else shape for shape, point in zip(shapes, points, strict=True)]
    traces = [
        series("reward", "y3", [point.reward for point in points], COLOUR_REWARD, shapes),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": x,
            "y": [point.best_reward for point in points],
            "yaxis": "y3",
            "line": {"color": COLOUR_REWARD, "width": 1.5, "shape": "hv"},
            "hoverinfo": "skip",
        },
        series("validation top-1", "y2", [_percent(point.top1) for point in points], COLOUR_ACCURACY, shapes),
        series("latency ratio", "y", [point.latency_ratio for point in points], COLOUR_LATENCY, latency_shapes),
    ]
    target = results.search.target_ratio if results.search else None
    lines = (
        [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "yref": "y",
                "y0": target,
                "y1": target,
                "line": {"dash": "dash", "width": 1.2, "color": INK},
            }
        ]
        if target is not None
        else []
    )
    layout = _layout(
        xaxis=_axis("Episode", anchor="y"),
        yaxis=_axis("Latency / dense", domain=[0, 0.29], rangemode="tozero"),
        yaxis2=_axis("Top-1, %", domain=[0.355, 0.645]),
        yaxis3=_axis("Reward", domain=[0.71, 1]),
        shapes=lines,
        height=520,
    )
    return {"data": traces, "layout": layout}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
