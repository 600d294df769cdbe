"""The targets of the configuration against what was measured or counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.records import CostName
from pipeline.report.results import Results, VariantResult
from pipeline.report.rows import PLAIN, SPARSE, Row
from pipeline.report.stored import Top1Difference
from pipeline.report.text import interval, number, percent, points

Met = Literal["met", "not met", "unknown"]
UNKNOWN = "not known yet"
COST_WORDS: dict[CostName, str] = {"latency": "latency", "macs": "MACs", "sparsity": "sparsity"}
RATIO_WORDS: dict[CostName, str] = {
    "latency": "Latency / dense",
    "macs": "MACs / dense",
    "sparsity": "Weights / dense",
}
"""What a cost ratio is: the share of the dense network's cost that is left."""


@dataclass(frozen=True)
class Check:
    """One target of the configuration against what was measured."""

    name: str
    asked: str
    got: str
    met: Met


def ratio_words(results: Results) -> str:
    return RATIO_WORDS[results.config.search.target.cost]


def primary_rows(rows: tuple[Row, ...], variant: str = "pruned") -> list[Row]:
    """What the targets are held against, on each device: fp32 TFLite, the precision that the search was paid for.

    A network that has a file without its zeros is held against that one: it is what zeros are for.
    """
    for precision in (SPARSE, PLAIN):
        found = [
            row
            for row in rows
            if row.variant.name == variant
            and row.artifact
            and (row.artifact.format, row.artifact.precision) == ("tflite", precision)
        ]
        if found:
            return found
    return []


def device_of(row: Row) -> str:
    device = row.measurement.device if row.measurement else None
    return f"{device.model} ({device.kind})" if device else "an unknown device"


def cost_checks(results: Results, rows: tuple[Row, ...]) -> list[Check]:
    """One for each device where latency is the cost, else one."""
    found = primary_rows(rows)
    if results.config.search.target.cost != "latency":
        pruned = results.variant("pruned")
        return [counted_check(results, pruned)]
    if len(found) > 1:
        return [latency_check(results, row, f"Latency on {device_of(row)}") for row in found]
    return [latency_check(results, found[0] if found else None, "Latency")]


def row_check(results: Results, row: Row) -> Check:
    """Whether this file meets the target of cost."""
    if results.config.search.target.cost == "latency":
        return latency_check(results, row, "")
    return counted_check(results, row.variant)


def counted_check(results: Results, variant: VariantResult | None) -> Check:
    target, dense = results.config.search.target, results.variant("dense")
    record = variant.record if variant else None
    if target.sparsity is not None:
        asked = f"at least {percent(target.sparsity)}% of the weights zero"
        zeros = record.sparsity if record else None
        if zeros is None:
            return Check("Sparsity", asked, UNKNOWN, "unknown")
        # Sparsity is a quotient of counts: without the allowance, 0.6 of 10 weights is not 6 of 10.
        return Check("Sparsity", asked, f"counted {percent(zeros)}%", _met(zeros >= target.sparsity - 1e-9))
    asked = f"at most {number(target.macs)} of dense MACs"
    if record is None or record.macs is None or dense is None or not dense.record.macs or target.macs is None:
        return Check("MACs", asked, UNKNOWN, "unknown")
    share = record.macs / dense.record.macs
    return Check("MACs", asked, f"counted {number(share)}", _met(share <= target.macs + 1e-9))


def latency_check(results: Results, row: Row | None, name: str) -> Check:
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
    if bounds and bounds[0] <= limit < bounds[1]:
        got += "; the interval reaches across the limit"
    return got, _met(value <= limit)


def _met(kept: bool) -> Met:
    return "met" if kept else "not met"


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


def accuracy_check(results: Results) -> Check:
    allowed = results.config.search.target.accuracy_drop
    asked = f"at most {points(allowed)} points of top-1 lost"
    lost = top1_lost(results)
    if lost is None:
        return Check("Accuracy", asked, UNKNOWN, "unknown")
    got = f"measured {points(lost.difference)} ({points_interval(lost.ci95)})"
    if lost.ci95 and lost.ci95[0] <= allowed < lost.ci95[1]:
        got += "; the interval reaches across the limit"
    # Accuracies are counts of images: without the allowance, 0.75 - 0.74 is more than 0.01.
    return Check("Accuracy", asked, got, _met(lost.difference <= allowed + 1e-9))
