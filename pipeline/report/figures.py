"""What all PNG files of the product have in common: size, grid, legend, and that they are written whole."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

DPI = 144


def new_figure(height: float = 4.0) -> Figure:
    """A figure of 7.2 inches by so many."""
    return Figure(figsize=(7.2, height), layout="constrained")


def plain(text: str) -> str:
    """Text as it stands: a dollar sign of a name must not start a formula."""
    return text.replace("$", r"\$")


def finish(figure: Figure, legend_columns: int = 4) -> Figure:
    """Grid, spines and the legend above."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=legend_columns, frameon=False, fontsize=8)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the PNG whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=DPI)
    os.replace(partial, path)
