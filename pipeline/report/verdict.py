"""What the run showed, in words that a release engineer can act on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.report.results import Results
from pipeline.report.rows import SPARSE, Row, Speedup
from pipeline.report.stored import Top1Difference
from pipeline.report.targets import (
    COST_WORDS,
    Check,
    Met,
    accuracy_check,
    cost_checks,
    device_of,
    points_interval,
    primary_rows,
    row_check,
    top1_lost,
)
from pipeline.report.text import interval, number, percent, points, times

SAME_LATENCY = 0.05
"""Latencies that differ by no more than this share are called the same; the ratio is told in any case."""


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
        headline=" ".join(
            said
            for said in (_nearest_words(results), _zeros_words(results), _speed_words(rows), _accuracy_words(results))
            if said
        ),
        search_worth=_search_worth(results, rows),
        checks=(*cost_checks(results, rows), accuracy_check(results)),
        recommendation=_recommendation(results, rows),
        warnings=tuple(_warnings(results, rows)),
    )


def headline_row(rows: tuple[Row, ...]) -> Row | None:
    """The device that gained least; one whose speed-up is not known comes before all others."""
    return min(primary_rows(rows), key=lambda row: row.speedup.factor if row.speedup else 0.0, default=None)


def _nearest_words(results: Results) -> str:
    if results.search and results.search.target_met is False:
        cost = COST_WORDS[results.config.search.target.cost]
        return f"The search found no plan that meets the {cost} target; this is the nearest one."
    return ""


def _zeros_words(results: Results) -> str:
    """How sparse pruned is; empty where channels are pruned."""
    pruned = results.variant("pruned")
    if results.config.pruning.kind != "weights" or pruned is None:
        return ""
    if pruned.record.sparsity is None:
        return "The sparsity of the pruned network is not counted yet."
    return f"{percent(pruned.record.sparsity)}% of the weights of pruned are zero."


def _speed_words(rows: tuple[Row, ...]) -> str:
    row = headline_row(rows)
    if row is None:
        return "The pruned network is not exported yet, so its speed is not known."
    if row.speedup is None:
        return f"The speed of the pruned network is not known: {row.speedup_missing}."
    several = len(primary_rows(rows)) > 1
    pruned = "Stored without its zeros, pruned" if row.artifact and row.artifact.precision == SPARSE else "Pruned"
    return f"{pruned} is {_faster(row.speedup)}{f' on {device_of(row)}, which gains least' if several else ''}."


def _faster(speedup: Speedup) -> str:
    if speedup.comparison and speedup.comparison.verdict == "inconclusive":
        bounds = interval(speedup.ci95)
        return f"not measurably faster than dense (speed-up {number(speedup.factor)}, 95% interval {bounds})"
    bounds = f"95% interval {interval(speedup.ci95)}" if speedup.ci95 else "ratio of medians, not interleaved"
    if speedup.factor < 1:
        return f"slower than dense (speed-up {number(speedup.factor)}, {bounds})"
    return f"{times(speedup.factor)} faster than dense ({bounds})"


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
    said = "; ".join(_over_words(name, one, _at_words(results, rows, name)) for name, one in over.items())
    others = f"{said[0].upper()}{said[1:]}." if said else ""
    return f"{_won_by_reference(results)} {others}".strip()


def _won_by_reference(results: Results) -> str:
    """That uniform pruning, which every search is shown first, won; empty where another plan did."""
    finalists = results.search.finalists if results.search else ()
    kinds = {episode.index: episode.kind for episode in results.episodes}
    if not finalists or finalists[0].episode is None or kinds.get(finalists[0].episode) != "reference":
        return ""
    return "The search found nothing better than uniform pruning: pruned is that plan."


def _at_words(results: Results, rows: tuple[Row, ...], control: str) -> str:
    """How the cost of pruned compares with the control's: the cost that the search was paid for."""
    pruned, other = results.variant("pruned"), results.variant(control)
    if results.config.search.target.cost == "sparsity":
        if not (pruned and other) or pruned.record.sparsity is None or other.record.sparsity is None:
            return "at a sparsity that is not counted yet"
        return f"with {percent(pruned.record.sparsity)}% zeros against {percent(other.record.sparsity)}%,"
    if results.config.search.target.cost == "macs":
        if not (pruned and other) or pruned.record.macs is None or not other.record.macs:
            return "at MACs that are not counted yet"
        return f"at {number(pruned.record.macs / other.record.macs)} of the MACs"
    latency = _latency_over(rows, control)
    if latency is None:
        return "at a latency that is not known to be the same"
    if abs(latency - 1) <= SAME_LATENCY:
        return f"at the same measured latency (ratio {number(latency)})"
    return f"at {number(latency)} of the measured latency"


def _over_words(control: str, over: Top1Difference, at: str) -> str:
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


def _recommendation(results: Results, rows: tuple[Row, ...]) -> str:
    """The fastest file of each device that passed every check and meets every target; dense is none to choose."""
    devices = list(dict.fromkeys(device_of(row) for row in rows if row.measurement))
    dense = results.variant("dense")
    if dense is None or dense.record.evaluation is None or not devices:
        return ""
    drop = results.config.search.target.accuracy_drop
    floor = dense.record.evaluation.top1 - drop - 1e-9
    cost = COST_WORDS[results.config.search.target.cost]
    words = f"parity, delegation, measurement, {cost} and {points(drop)} points of accuracy"
    passed = sorted(
        (row for row in rows if row.variant.name != "dense" and row.status == "passed" and row.ranked),
        key=lambda row: row.median_ms or math.inf,
    )
    accurate = [row for row in passed if row.top1 is not None and row.top1 >= floor]
    fit = [row for row in accurate if row_check(results, row).met == "met"]
    # Dearest to give up is accuracy: a file that is too slow is nearer than one that is too often wrong.
    nearest = [*accurate, *sorted(passed, key=lambda row: -(row.top1 or 0.0))]
    found = []
    for device in devices:
        best = next((row for row in fit if device_of(row) == device), None)
        near = next((row for row in nearest if device_of(row) == device), None)
        if best:
            found.append(f"Fastest artifact on {device} that passed every check ({words}): {_figures(best)}.")
        elif near:
            asked = row_check(results, near)
            found.append(
                f"No artifact on {device} passed every check ({words}). Nearest: {_figures(near)}; "
                f"{cost} asked {asked.asked}, {asked.got}."
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
