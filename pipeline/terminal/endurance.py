"""Loads of minutes: rates at the beginning and at the end, and how they went."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from device_bench.endurance import SustainedRun, ranks
from pipeline.terminal.tables import new_table, number, reasons, show

SPARKS = 12
"""Characters that a rate over time takes."""


def print_sustained(runs: Sequence[SustainedRun]) -> None:
    """One row for each model: its rate at the beginning and at the end, what heated, and how the rate went."""
    table = new_table(
        ("model", "left"), ("cold FPS", "right"), ("sustained", "right"), ("drop", "right"), ("C", "right")
    )
    table.add_column("MHz", justify="right")
    table.add_column("rank", justify="right")
    table.add_column("over time", no_wrap=True)
    places = zip(ranks([run.cold_fps for run in runs]), ranks([run.sustained_fps for run in runs]), strict=True)
    for run, (cold, held) in zip(runs, places, strict=True):
        table.add_row(
            Path(run.artifact.path).name + (" REJECTED" if run.rejections else ""),
            number(run.cold_fps),
            number(run.sustained_fps),
            "-" if run.drop is None else f"{run.drop:.1%}",
            _span(run.start_c, run.windows[-1].temperature_c, "{:.0f}"),
            _span(run.windows[0].freq_mhz, run.windows[-1].freq_mhz, "{:.0f}"),
            f"{cold}, {held or '-'}" if len(runs) > 1 else "-",
            _sparkline([window.fps for window in run.windows]),
        )
    show(table)
    first = runs[0]
    print("cold: the first window; sustained: the last third of the time")
    print("C, MHz: at the beginning and at the end; rank: cold, sustained")
    print(f"device: {first.device.id} ({first.device.kind}), {first.device.model}, {first.device.os}")
    print(f"load: {first.minutes:g} minutes each; {first.method}")
    for line in reasons(runs):
        print(line)
    for run in runs:
        name, length_s = Path(run.artifact.path).name, run.windows[-1].end_s
        if run.throttled:
            print(f"throttled: {name}")
        if run.idle_s > 0.01 * length_s:
            print(f"idle: {name}: {run.idle_s:.3g} of {length_s:.3g} s went by between the windows")
        for rejection in run.rejections:
            print(f"rejected: {name}: {rejection}")


def _span(first: float | None, last: float | None, form: str) -> str:
    return "-" if first is None or last is None else f"{form.format(first)}-{form.format(last)}"


def _sparkline(values: Sequence[float]) -> str:
    """The values as bars from 0 up, at most `SPARKS` of them, each the mean of its share."""
    count = min(SPARKS, len(values))
    parts = [values[len(values) * i // count : len(values) * (i + 1) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    bars = "▁▂▃▄▅▆▇█" if (sys.stdout.encoding or "").lower().startswith("utf") else "_.:-=+*#"
    return "".join(bars[min(len(bars) - 1, int(len(bars) * mean / max(means)))] for mean in means)
