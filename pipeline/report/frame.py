"""What the page's plotly figures have in common: the frame, its axes and error bars, as plain dictionaries."""

from __future__ import annotations

from typing import Any

from pipeline.report.series import log_ticks

Figure = dict[str, Any]

# The page has a dark counterpart of each of these (page.js).
INK, GRID, RULE, PAPER = "#1f2933", "#e4e7eb", "#9aa5b1", "#ffffff"


def new_layout(**own: Any) -> Figure:
    # The legend lies above the plot and the margins adapt, so that a phone's width keeps the plot wide.
    base: Figure = {
        "font": {
            "family": "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
            "size": 12,
            "color": INK,
        },
        "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        "hovermode": "closest",
    }
    return base | own


def axis(title: str, **own: Any) -> Figure:
    line = {"gridcolor": GRID, "zeroline": False, "linecolor": RULE, "ticks": "outside", "tickcolor": RULE}
    return line | {"title": {"text": title, "standoff": 8}, "automargin": True} | own


def log_axis(title: str, values: list[float]) -> Figure:
    ticks = log_ticks(values)
    return axis(title, type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def error_bars(centres: list[float], bounds: list[tuple[float, float] | None], tone: str) -> Figure:
    return {
        "type": "data",
        "symmetric": False,
        "array": [b[1] - c if b else 0 for c, b in zip(centres, bounds, strict=True)],
        "arrayminus": [c - b[0] if b else 0 for c, b in zip(centres, bounds, strict=True)],
        "color": tone,
        "thickness": 1.2,
        "width": 3,
    }


def level(y: float, dash: str = "solid") -> Figure:
    """A line across the plot."""
    ends = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": y, "y1": y}
    return {"type": "line", **ends, "line": {"dash": dash, "width": 1.2, "color": INK}}


def band(low: float, high: float, tone: str) -> Figure:
    """A shaded strip across the plot, below what is drawn."""
    ends = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": low, "y1": high}
    return {"type": "rect", **ends, "fillcolor": tone, "opacity": 0.15, "line": {"width": 0}, "layer": "below"}
