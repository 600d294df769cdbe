"""The page's smaller tables: key figures, the search, and several runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.results import Results
from pipeline.report.rows import PLAIN, Row
from pipeline.report.stored import SearchSummary
from pipeline.report.table import STATUS_WORDS
from pipeline.report.targets import points_interval, primary_rows, ratio_words, top1_lost
from pipeline.report.text import DASH, duration, interval, number, percent, percent_interval, points, times
from pipeline.report.verdict import headline_row, negated

SOURCE_WORDS = {
    "measured": "measured on the device at every step",
    "table": "latency table at every step (a model)",
    "hybrid": "latency table at every step (a model), measured on the device at the end of each episode",
}


Facts = tuple[tuple[str, str], ...]
"""Names and what is known of them."""


@dataclass(frozen=True)
class Tile:
    """One key figure: what it is, the figure, and a line below it."""

    name: str
    figure: str
    detail: str


@dataclass(frozen=True)
class Grid:
    """A small table; `align` has one letter for each column: l for words, r for numbers, c for hashes and paths."""

    title: str
    align: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def key_figures(results: Results, rows: tuple[Row, ...]) -> tuple[Tile, ...]:
    """Pruned against dense, in four or five figures."""
    dense, pruned = results.variant("dense"), results.variant("pruned")
    if dense is None or pruned is None:
        return ()
    tiles = []
    if pruned.record.weights and pruned.record.sparsity is not None:
        left = f"{number((pruned.record.params or 0) / 1e6)} M parameters are not zero"
        tiles.append(Tile("Sparsity", f"{percent(pruned.record.sparsity)}%", left))
    row, reference = headline_row(rows), next(iter(primary_rows(rows, "dense")), None)
    precision = row.artifact.precision if row and row.artifact else PLAIN
    if row and row.speedup:
        bounds = f"95% interval {interval(row.speedup.ci95)}" if row.speedup.ci95 else "ratio of medians"
        tiles.append(Tile(f"Speed-up, {precision}", times(row.speedup.factor), bounds))
    lost = top1_lost(results)
    if lost:
        sign = "+" if lost.difference < 0 else ""
        change = f"{sign}{points(-lost.difference)}"
        tiles.append(Tile("Top-1 change, points", change, points_interval(negated(lost.ci95))))
    if row and reference and row.artifact and reference.artifact:
        before, after = reference.artifact.size_bytes, row.artifact.size_bytes
        sizes = f"from {number(before / 1e6)} MB"
        tiles.append(Tile(f"File size, {precision}", f"{number(after / 1e6)} MB", sizes))
    if pruned.record.macs is not None and dense.record.macs:
        share = pruned.record.macs / dense.record.macs
        name = "MACs without zeros" if pruned.record.weights else "MACs"
        tiles.append(Tile(name, f"{number(pruned.record.macs / 1e6)} M", f"{percent(share)}% of dense"))
    return tuple(tiles)


def run_details(results: Results, rows: tuple[Row, ...]) -> dict[str, Any]:
    return {
        "tiles": key_figures(results, rows),
        "search": _search_facts(results),
        "finalists": _finalists(results),
        "rounds": _rounds(results),
    }


def _search_facts(results: Results) -> Facts:
    search = results.search
    if search is None:
        return ()
    greedy, ratio = search.greedy, ratio_words(results)
    found = {True: "yes", False: "no; the nearest plan is shown", None: DASH}[search.target_met]
    failed = sum(1 for episode in results.episodes if episode.failure)
    return (
        ("Agent", search.agent),
        ("Reward", search.reward),
        *_of_latency(search),
        ("Episodes", f"{search.episodes:,}" + (f", {failed} failed" if failed else "")),
        ("Wall time", duration(search.wall_s)),
        (
            f"Target, {ratio}",
            DASH if search.target_ratio is None else f"{search.target_ratio:.4g}",
        ),
        ("A finalist meets the target", found),
        (
            "The agent's own greedy plan",
            f"{ratio} {number(greedy.ratio)}, validation top-1 {percent(greedy.top1)}%"
            if greedy
            else f"{DASH} the agent gave none",
        ),
    )


def _of_latency(search: SearchSummary) -> Facts:
    if search.latency_source is None:
        return (("What is saved", "counted at every step"),)
    return (
        ("Latency source", SOURCE_WORDS.get(search.latency_source, search.latency_source)),
        ("Dense latency in the search", _with_unit(search.dense_latency_ms, "ms")),
    )


def number_of(count: int | None) -> str:
    return DASH if count is None else f"{count:,}"


def _with_unit(value: float | None, unit: str) -> str:
    return DASH if value is None else f"{number(value)} {unit}"


def _finalists(results: Results) -> Grid | None:
    """The best plans; with their latency, unless zeros were what was searched for."""
    if results.search is None or not results.search.finalists:
        return None
    timed = results.search.cost != "sparsity"
    counted = results.search.cost != "latency"
    rows = []
    for finalist in results.search.finalists:
        cost = (number(finalist.cost_ratio),) if counted else ()
        latency = (number(finalist.ratio), interval(finalist.ci95)) if timed else ()
        top1 = percent(finalist.validation_top1)
        rows.append((finalist.plan_id[:12], number_of(finalist.episode), *cost, *latency, top1))
    heads = (
        *("Plan", "Episode"),
        *((ratio_words(results),) if counted else ()),
        *(("Latency / dense", "95% interval") if timed else ()),
        "Validation top-1, %",
    )
    title = "Finalists, measured afresh and interleaved" if timed else "Finalists, fine-tuned briefly"
    return Grid(title, "c" + "r" * (len(heads) - 1), heads, tuple(rows))


def _rounds(results: Results) -> Grid | None:
    """What each round of a search over weights reached; None where there was only one."""
    rounds = results.search.rounds if results.search else ()
    if len(rounds) < 2:
        return None
    return Grid(
        title="Rounds",
        align="lrrrrr",
        heads=("Round", "Asked, % zero", "Reached, % zero", "Validation top-1, %", "Episodes", "Wall time"),
        rows=tuple(
            (
                str(index),
                percent(one.target_sparsity),
                percent(one.sparsity),
                percent(one.validation_top1),
                number_of(one.episodes),
                duration(one.wall_s),
            )
            for index, one in enumerate(rounds, start=1)
        ),
        note="Each round starts from the network of the one before, fine-tuned in full. Validation top-1 is that of "
        "the finalists' brief fine-tuning. The figures of episodes on this page are the last round's.",
    )


def overview(runs: Sequence[tuple[Results, tuple[Row, ...]]]) -> Grid:
    """The fp32 variants of several runs in one table."""
    return Grid(
        title="Overview: TFLite fp32 of every variant, without its zeros where it has some",
        align="lllrrrrl",
        heads=("Run", "Variant", "Device", "Top-1, %", "95% interval", "Median, ms", "Speed-up vs dense", "Checks"),
        rows=tuple(
            _overview_line(results, row)
            for results, rows in runs
            for row in rows
            if row.artifact is None or row in primary_rows(rows, row.variant.name)
        ),
    )


def _overview_line(results: Results, row: Row) -> tuple[str, ...]:
    evaluation = row.artifact.evaluation if row.artifact else row.variant.record.evaluation
    return (
        results.folder,
        row.variant.name,
        f"{row.measurement.device.model} ({row.measurement.device.kind})" if row.measurement else DASH,
        percent(evaluation.top1 if evaluation else None),
        percent_interval(evaluation.ci95 if evaluation else None),
        number(row.median_ms),
        times(row.speedup.factor if row.speedup else None),
        STATUS_WORDS[row.status],
    )
