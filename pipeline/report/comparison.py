"""A comparison as a picture: each candidate's latency over the baseline's, and its accuracy less the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes

from device_bench.records import AccuracyDifference, Comparison, ComparisonResult
from pipeline.report.figures import finish, new_figure, plain, save
from pipeline.report.text import points

COLOURS = {"faster": "#009e73", "gained": "#009e73", "slower": "#d55e00", "lost": "#d55e00", "inconclusive": "#4d4d4d"}
MARKERS = {"faster": "o", "gained": "o", "slower": "D", "lost": "D", "inconclusive": "s"}
NAME_WIDTH = 26


def plot_comparison(result: ComparisonResult, names: Sequence[str], path: Path) -> None:
    """Write the PNG.

    Args:
        names: what the files are called, the baseline first.
    """
    comparisons = result.comparisons
    figure = new_figure(1.9 + 0.62 * len(comparisons))
    latency, accuracy = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    floor = comparisons[0].noise_floor
    latency.axvspan(1 - floor, 1 + floor, color="#cbd2d9", label=f"noise floor of this sitting (±{floor:.1%})")
    latency.axvline(1, color="#1f2933", linewidth=1)
    accuracy.axvline(0, color="#1f2933", linewidth=1)
    for place, one in enumerate(comparisons):
        _mark(latency, place, one.ratio, one.ci95, one.verdict, latency_words(one))
        if one.accuracy is None:
            _say(accuracy, place, "not compared", COLOURS["inconclusive"])
        else:
            low, high = (100 * bound for bound in one.accuracy.ci95)
            words = accuracy_words(one.accuracy)
            _mark(accuracy, place, 100 * one.accuracy.difference, (low, high), one.accuracy.verdict, words)
    latency.set_yticks(range(len(comparisons)), [_wrapped(name) for name in names[1:]])
    latency.set_ylim(len(comparisons) - 0.4, -0.7)  # the first on top
    device, ms = result.measurements[0].device, result.measurements[0].median_ms
    latency.set(xlabel="Latency over the baseline's")
    accuracy.set(xlabel="Top-1 gained or lost, points")
    _widen(latency, 1.0)
    _widen(accuracy, 0.0)
    finish(figure)
    latency.set_title(
        plain(f"{device.model} ({device.kind}). Baseline: {names[0]}, {ms:.4g} ms"), loc="left", fontsize=9
    )
    save(figure, path)


def _mark(axes: Axes, place: int, value: float, ci95: tuple[float, float], verdict: str, words: str) -> None:
    bars = [[max(value - ci95[0], 0.0)], [max(ci95[1] - value, 0.0)]]
    tone = COLOURS[verdict]
    axes.errorbar(value, place, xerr=bars, fmt=MARKERS[verdict], color=tone, capsize=3)
    _say(axes, place - 0.32, words, tone)


def _say(axes: Axes, place: float, words: str, tone: str) -> None:
    """Words at the left of a row, legible on whatever lies below."""
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
    frame = ("axes fraction", "data")
    axes.annotate(words, (0.02, place), fontsize=8.5, color=tone, bbox=behind, va="center", xycoords=frame)


def _wrapped(name: str) -> str:
    """A long path goes to the next line after its folders."""
    parts = name.rpartition("/") if len(name) > NAME_WIDTH else ("", "", name)
    lines = (parts[0] + parts[1], parts[2])
    return "\n".join(plain(fill(line, NAME_WIDTH, break_on_hyphens=False)) for line in lines if line)


def _widen(axes: Axes, centre: float) -> None:
    """Some room around what is drawn, the point of no difference inside it."""
    low, high = axes.dataLim.x0, axes.dataLim.x1
    low, high = min(low, centre), max(high, centre)
    room = 0.08 * ((high - low) or 1.0)
    axes.set_xlim(low - room, high + room)


def latency_words(one: Comparison) -> str:
    bounds = f"{one.ratio:.3f} ({one.ci95[0]:.3f} to {one.ci95[1]:.3f})"
    return {"faster": f"faster: {bounds}", "slower": f"slower: {bounds}"}.get(one.verdict, f"cannot be told: {bounds}")


def accuracy_words(one: AccuracyDifference) -> str:
    p_value = f"p {one.p_value:.2g}" if one.p_value >= 0.001 else "p < 0.001"
    verdict = "cannot be told" if one.verdict == "inconclusive" else one.verdict
    return f"{verdict}: {points(one.difference)} ({p_value})"
