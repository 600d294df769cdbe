"""What the run showed, in words that a release engineer can act on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.report.results import Results
from pipeline.report.rows import Row, Speedup
from pipeline.report.stored import Top1Difference
from pipeline.report.text import interval, number, percent, points, times

Met = Literal["met", "not met", "unknown"]
PRIMARY = ("tflite", "fp32")
UNKNOWN = "not known yet"
SAME_LATENCY = 0.05
"""Latencies that differ by no more than this share are called the same; the ratio is told in any case."""


@dataclass(frozen=True)
class Check:
    """One target of the configuration against what was measured."""

    name: str
    asked: str
    got: str
    met: Met


@dataclass(frozen=True)
class Verdict:
    headline: str
    search_worth: str
    """What the search gained over the controls; empty where the run stored no such comparison."""
    checks: tuple[Check, ...]
    recommendation: str
    warnings: tuple[str, ...]

    @property
    def met(self) -> Met:
        outcomes = {check.met for check in self.checks}
        return "not met" if "not met" in outcomes else "unknown" if "unknown" in outcomes or not outcomes else "met"


def build_verdict(results: Results, rows: tuple[Row, ...]) -> Verdict:
    return Verdict(
        headline=f"{_nearest_words(results)}{_speed_words(rows)} {_accuracy_words(results)}",
        search_worth=_search_worth(results, rows),
        checks=(*_latency_checks(results, rows), _accuracy_check(results)),
        recommendation=_recommendation(results, rows),
        warnings=tuple(_warnings(results, rows)),
    )


def primary_rows(rows: tuple[Row, ...], variant: str = "pruned") -> list[Row]:
    """What the targets are held against: fp32 TFLite, the precision that the search was paid for, on each device."""
    return [
        row
        for row in rows
        if row.variant.name == variant and row.artifact and (row.artifact.format, row.artifact.precision) == PRIMARY
    ]


def headline_row(rows: tuple[Row, ...]) -> Row | None:
    """The device that gained least; one whose speed-up is not known comes before all others."""
    return min(primary_rows(rows), key=lambda row: row.speedup.factor if row.speedup else 0.0, default=None)


def _nearest_words(results: Results) -> str:
    if results.search and results.search.target_met is False:
        return "The search found no plan that meets the latency target; this is the nearest one. "
    return ""


def _speed_words(rows: tuple[Row, ...]) -> str:
    row = headline_row(rows)
    if row is None:
        return "The pruned network is not exported yet, so its speed is not known."
    if row.speedup is None:
        return f"The speed of the pruned network is not known: {row.speedup_missing}."
    several = len(primary_rows(rows)) > 1
    return f"Pruned is {_faster(row.speedup)}{f' on {_device(row)}, which gains least' if several else ''}."


def _device(row: Row) -> str:
    device = row.measurement.device if row.measurement else None
    return f"{device.model} ({device.kind})" if device else "an unknown device"


def _faster(speedup: Speedup) -> str:
    if speedup.comparison and speedup.comparison.verdict == "inconclusive":
        bounds = interval(speedup.ci95)
        return f"not measurably faster than dense (speed-up {number(speedup.factor)}, 95% interval {bounds})"
    bounds = f"95% interval {interval(speedup.ci95)}" if speedup.ci95 else "ratio of medians, not interleaved"
    if speedup.factor < 1:
        return f"slower than dense (speed-up {number(speedup.factor)}, {bounds})"
    return f"{times(speedup.factor)} faster than dense ({bounds})"


def top1_lost(results: Results) -> Top1Difference | None:
    """What pruned lost against dense on the same images; without an interval where the run stored none."""
    dense, pruned = results.variant("dense"), results.variant("pruned")
    if not (dense and pruned and dense.record.evaluation and pruned.record.evaluation):
        return None
    if pruned.record.top1_lost:
        return pruned.record.top1_lost
    difference = dense.record.evaluation.top1 - pruned.record.evaluation.top1
    return Top1Difference(difference=difference, ci95=None, n=pruned.record.evaluation.n_images)


def points_interval(bounds: tuple[float, float] | None) -> str:
    """An interval of a difference of accuracies in words, percentage points."""
    return f"95% interval {points(bounds[0])} to {points(bounds[1])}" if bounds else "95% interval not stored"


def _accuracy_words(results: Results) -> str:
    lost, pruned = top1_lost(results), results.variant("pruned")
    if lost is None or pruned is None or pruned.record.evaluation is None:
        return "Its accuracy after fine-tuning is not known yet."
    images = f"on {lost.n:,} {pruned.record.evaluation.split} images"
    if lost.difference == 0:
        top1 = percent(pruned.record.evaluation.top1)
        return f"It keeps its top-1 accuracy of {top1}% {images} (points lost: {points_interval(lost.ci95)})."
    if lost.difference > 0:
        return f"It loses {points(lost.difference)} points of top-1 ({points_interval(lost.ci95)}) {images}."
    return f"It gains {points(-lost.difference)} points of top-1 ({points_interval(negated(lost.ci95))}) {images}."


def negated(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    return (-bounds[1], -bounds[0]) if bounds else None


def _search_worth(results: Results, rows: tuple[Row, ...]) -> str:
    pruned = results.variant("pruned")
    over = pruned.record.top1_over if pruned else {}
    said = "; ".join(_over_words(name, one, _latency_over(rows, name)) for name, one in over.items())
    return f"{said[0].upper()}{said[1:]}." if said else ""


def _over_words(control: str, over: Top1Difference, latency: float | None) -> str:
    if latency is None:
        at = "at a latency that is not known to be the same"
    elif abs(latency - 1) <= SAME_LATENCY:
        at = f"at the same measured latency (ratio {number(latency)})"
    else:
        at = f"at {number(latency)} of the measured latency"
    if over.ci95 and over.ci95[0] <= 0 <= over.ci95[1]:
        signed = f"{'+' if over.difference > 0 else ''}{points(over.difference)}"
        return (
            f"{at} pruned is not measurably more or less accurate than {control} pruning: {signed} points "
            f"({points_interval(over.ci95)})"
        )
    if over.difference < 0:
        lost = f"{points(-over.difference)} points ({points_interval(negated(over.ci95))})"
        return f"{at} pruned is {lost} less accurate than {control} pruning"
    gained = f"{points(over.difference)} points ({points_interval(over.ci95)})"
    return f"{at} pruned is {gained} more accurate than {control} pruning"


def _latency_over(rows: tuple[Row, ...], control: str) -> float | None:
    """Latency of pruned over that of the control on the headline's device, each from its speed-up over dense."""
    row = headline_row(rows)
    if row is None or row.speedup is None or row.measurement is None:
        return None
    device = row.measurement.device.id
    twins = (
        other.speedup.factor
        for other in primary_rows(rows, control)
        if other.speedup and other.measurement and other.measurement.device.id == device
    )
    factor = next(twins, None)
    return None if factor is None else factor / row.speedup.factor


def _latency_checks(results: Results, rows: tuple[Row, ...]) -> list[Check]:
    found = primary_rows(rows)
    if len(found) > 1:
        return [_latency_check(results, row, f"Latency on {_device(row)}") for row in found]
    return [_latency_check(results, found[0] if found else None, "Latency")]


def _latency_check(results: Results, row: Row | None, name: str) -> Check:
    target = results.config.search.target
    if target.latency is not None:
        asked = f"at most {target.latency:g} of dense latency"
        speedup = row.speedup if row else None
        if speedup is None:
            return Check(name, asked, UNKNOWN, "unknown")
        bounds = (1 / speedup.ci95[1], 1 / speedup.ci95[0]) if speedup.ci95 else None
        return Check(name, asked, *_against(1 / speedup.factor, bounds, target.latency))
    limit_ms = target.latency_ms if target.latency_ms is not None else 1000 / (target.fps or 1.0)
    asked = f"at most {limit_ms:.4g} ms" + (f" ({target.fps:g} frames a second)" if target.fps else "")
    if row is None or not row.ranked or row.measurement is None:
        return Check(name, asked, UNKNOWN, "unknown")
    stats = row.measurement.latency_ms
    return Check(name, asked, *_against(row.measurement.median_ms, stats.ci95, limit_ms, " ms"))


def _against(value: float, bounds: tuple[float, float] | None, limit: float, unit: str = "") -> tuple[str, Met]:
    """The value in words, and whether it keeps the limit; an interval across the limit is said, not hidden."""
    got = f"measured {number(value)}{unit}" + (f" (95% interval {interval(bounds)})" if bounds else "")
    met: Met = "met" if value <= limit else "not met"
    if bounds and bounds[0] <= limit < bounds[1]:
        got += "; the interval reaches across the limit"
    return got, met


def _accuracy_check(results: Results) -> Check:
    allowed = results.config.search.target.accuracy_drop
    asked = f"at most {points(allowed)} points of top-1 lost"
    lost = top1_lost(results)
    if lost is None:
        return Check("Accuracy", asked, UNKNOWN, "unknown")
    got = f"measured {points(lost.difference)} ({points_interval(lost.ci95)})"
    if lost.ci95 and lost.ci95[0] <= allowed < lost.ci95[1]:
        got += "; the interval reaches across the limit"
    # Accuracies are counts of images: without the allowance, 0.75 - 0.74 is more than 0.01.
    return Check("Accuracy", asked, got, "met" if lost.difference <= allowed + 1e-9 else "not met")


def _recommendation(results: Results, rows: tuple[Row, ...]) -> str:
    """The fastest file of each device that passed every check and meets every target; dense is none to choose."""
    devices = list(dict.fromkeys(_device(row) for row in rows if row.measurement))
    dense = results.variant("dense")
    if dense is None or dense.record.evaluation is None or not devices:
        return ""
    drop = results.config.search.target.accuracy_drop
    floor = dense.record.evaluation.top1 - drop - 1e-9
    words = f"parity, delegation, measurement, latency and {points(drop)} points of accuracy"
    passed = sorted(
        (row for row in rows if row.variant.name != "dense" and row.status == "passed" and row.ranked),
        key=lambda row: row.median_ms or math.inf,
    )
    accurate = [row for row in passed if row.top1 is not None and row.top1 >= floor]
    fit = [row for row in accurate if _latency_check(results, row, "").met == "met"]
    # Dearest to give up is accuracy: a file that is too slow is nearer than one that is too often wrong.
    nearest = [*accurate, *sorted(passed, key=lambda row: -(row.top1 or 0.0))]
    found = []
    for device in devices:
        best = next((row for row in fit if _device(row) == device), None)
        near = next((row for row in nearest if _device(row) == device), None)
        if best:
            found.append(f"Fastest artifact on {device} that passed every check ({words}): {_figures(best)}.")
        elif near:
            asked = _latency_check(results, near, "")
            found.append(
                f"No artifact on {device} passed every check ({words}). Nearest: {_figures(near)}; "
                f"latency asked {asked.asked}, {asked.got}."
            )
        else:
            found.append(f"No artifact on {device} passed every check ({words}); none is near.")
    return " ".join(found)


def _figures(row: Row) -> str:
    path = row.artifact.path if row.artifact else ""
    return f"{path}, {number(row.median_ms)} ms median, top-1 {percent(row.top1)}%"


def _warnings(results: Results, rows: tuple[Row, ...]) -> list[str]:
    found = [f"{row.label}: {problem}. It is not ranked." for row in rows for problem in row.problems]
    found += [f"{row.label}: {mark}. Its figures hold, less exactly." for row in rows for mark in row.marks]
    found += [
        f"{row.label}: parity not checked ({row.artifact.parity.reason or 'no reason given'})."
        for row in rows
        if row.artifact and row.artifact.parity.passed is None
    ]
    found += [
        f"{row.label}: {name}: {reason}"
        for row in rows
        if row.artifact
        for name, reason in row.artifact.missing.items()
        if name not in ("evaluation", "measurement", "delegation")
    ]
    if results.missing_stages:
        found.append(
            f"Not run: {', '.join(results.missing_stages)}. Running the same configuration again goes on there."
        )
    kinds = {row.measurement.device.kind for row in rows if row.measurement} - {"device"}
    if kinds:
        found.append(f"Measured on: {', '.join(sorted(kinds))}, not on a phone. Latency on a phone will differ.")
    if results.strays:
        found.append(f"Measurements of files that this run did not export are left out: {', '.join(results.strays)}.")
    return list(dict.fromkeys(found))
