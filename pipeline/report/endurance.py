"""A picture of sustained runs: rate, temperature and clock over time, each model in its own colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from device_bench.endurance import SustainedRun, SustainedWindow
from pipeline.report.figures import finish, new_figure, plain, save
from pipeline.report.series import colour

PANELS: tuple[tuple[str, str], ...] = (("fps", "FPS"), ("temperature_c", "Temperature, C"), ("freq_mhz", "Clock, MHz"))


def plot_sustained(runs: Sequence[SustainedRun], path: Path) -> None:
    """Write a PNG; a panel that no run has figures for is left out."""
    paths = [Path(run.artifact.path) for run in runs]
    short = [path.name for path in paths]
    names = tuple(path.name if short.count(path.name) == 1 else str(path) for path in paths)
    panels = [panel for panel in PANELS if any(_points(run, panel[0])[1] for run in runs)]
    figure = new_figure(1.6 + 1.6 * len(panels))
    for place, (field, label) in enumerate(panels, 1):
        axes = figure.add_subplot(len(panels), 1, place)
        for name, run in zip(names, runs, strict=True):
            axes.plot(*_points(run, field), ".-", color=colour(name, names), label=plain(name) if place == 1 else None)
        axes.set(ylabel=label)
        if field == "fps":
            axes.set_ylim(bottom=0)  # a drop of a tenth must look like one
    figure.axes[-1].set_xlabel("Minutes of load")
    save(finish(figure), path)


def _points(run: SustainedRun, field: str) -> tuple[list[float], list[float]]:
    """Minutes at the middle of each window, and its figure, where it has one."""
    pairs = [(_middle_min(window), getattr(window, field)) for window in run.windows]
    known = [(minute, value) for minute, value in pairs if value is not None]
    return [minute for minute, _ in known], [value for _, value in known]


def _middle_min(window: SustainedWindow) -> float:
    return (window.start_s + window.end_s) / 120
