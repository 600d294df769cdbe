"""The charts of how far the figures can be trusted: how the latency table erred, and the staircases behind it."""

from __future__ import annotations

from html import escape

from pipeline.report.frame import INK, Figure, axis, band, level, new_layout
from pipeline.report.results import Results
from pipeline.report.series import (
    COLOUR_ACCURACY,
    COLOUR_LATENCY,
    COLOUR_REWARD,
    FEW_EDGES,
    Staircase,
    hybrid_errors,
    staircases,
)
from pipeline.report.table_facts import BAND


def hybrid_error_chart(results: Results) -> Figure | None:
    """One point for each network that the search measured, against what the table had said of it."""
    errors = hybrid_errors(results)
    if not errors:
        return None
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": list(range(1, len(errors) + 1)),
        "y": errors,
        "marker": {"color": COLOUR_LATENCY, "size": 6},
        "hovertemplate": "measurement %{x}: %{y:+.2f}%<extra></extra>",
    }
    reach = 1.15 * max(100 * BAND * 1.5, *map(abs, errors))
    layout = new_layout(
        xaxis=axis("Measurement of the search"),
        yaxis=axis("Predicted / measured \u2212 1, %", range=[-reach, reach]),
        shapes=[band(-100 * BAND, 100 * BAND, COLOUR_ACCURACY), level(0.0)],
        showlegend=False,
    )
    return {"data": [points], "layout": layout}


def staircase_charts(results: Results) -> dict[str, Figure | None]:
    """A small chart for each group, so that they stand beside each other on a wide screen and below on a narrow one."""
    found = staircases(results)
    return {f"staircase_{number}": _staircase(one) for number, one in enumerate(found, start=1)}


def _staircase(one: Staircase) -> Figure:
    cost_ms = dict(zip(one.channels, one.latency_ms, strict=True))
    stairs = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": one.channels,
        "y": one.latency_ms,
        "line": {"color": COLOUR_REWARD, "width": 1.2, "shape": "vh"},
        "marker": {"color": COLOUR_REWARD, "size": 3},
        "hovertemplate": "%{x} channels: %{y:.3g} ms<extra></extra>",
    }
    edges = {
        "type": "scatter",
        "mode": "markers",
        "x": one.edges,
        "y": [cost_ms[edge] for edge in one.edges],
        "marker": {"color": COLOUR_LATENCY, "size": 7 if len(one.edges) <= FEW_EDGES else 3, "symbol": "diamond"},
        "hovertemplate": "%{x} channels: %{y:.3g} ms, a right edge<extra></extra>",
    }
    layout = new_layout(
        title={"text": escape(one.group), "font": {"size": 12, "color": INK}, "x": 0, "xanchor": "left", "y": 0.98},
        margin={"l": 48, "r": 8, "t": 26, "b": 40},
        xaxis=axis("Channels", rangemode="tozero"),
        yaxis=axis("ms", rangemode="tozero"),
        showlegend=False,
    )
    return {"data": [stairs, edges], "layout": layout}
