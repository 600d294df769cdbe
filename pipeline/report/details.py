"""The page's smaller tables: key figures, the search, each stage's time, each measurement, where it all comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from device_bench.records import BenchSpec, Measurement
from pipeline.report.results import STAGES, Results
from pipeline.report.rows import Row
from pipeline.report.table import method_words
from pipeline.report.text import DASH, duration, interval, number, one_line, percent, points, times
from pipeline.report.verdict import accuracy_loss, primary_row

SOURCE_WORDS = {
    "measured": "measured on the device at every step",
    "table": "latency table at every step (a model)",
    "hybrid": "latency table at every step (a model), measured on the device at the end of each episode",
}


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
    """Pruned against dense, in four figures."""
    dense, pruned = results.variant("dense"), results.variant("pruned")
    if dense is None or pruned is None:
        return ()
    tiles = []
    row, reference = primary_row(rows), primary_row(rows, "dense")
    if row and row.speedup:
        bounds = f"95% interval {interval(row.speedup.ci95)}" if row.speedup.ci95 else "ratio of medians"
        tiles.append(Tile("Speed-up, fp32", times(row.speedup.factor), bounds))
    if dense.record.evaluation and pruned.record.evaluation:
        loss, (low, high) = accuracy_loss(dense.record.evaluation, pruned.record.evaluation)
        sign = "+" if loss < 0 else ""
        bounds = f"95% interval {points(-high)} to {points(-low)}"
        tiles.append(Tile("Top-1 change, points", f"{sign}{points(-loss)}", bounds))
    if row and reference and row.artifact and reference.artifact:
        before, after = reference.artifact.size_bytes, row.artifact.size_bytes
        sizes = f"from {number(before / 1e6)} MB"
        tiles.append(Tile("File size, fp32", f"{number(after / 1e6)} MB", sizes))
    if pruned.record.macs is not None and dense.record.macs:
        share = pruned.record.macs / dense.record.macs
        tiles.append(Tile("MACs", f"{number(pruned.record.macs / 1e6)} M", f"{percent(share)}% of dense"))
    return tuple(tiles)


def run_details(results: Results, rows: tuple[Row, ...]) -> dict[str, Any]:
    return {
        "tiles": key_figures(results, rows),
        "search": _search_facts(results),
        "finalists": _finalists(results),
        "stages": _stages(results),
        "measurements": _measurements(rows),
    }


def _search_facts(results: Results) -> tuple[tuple[str, str], ...]:
    search = results.search
    if search is None:
        return ()
    error = search.latency_table_error or results.table_error
    greedy = search.greedy
    found = {True: "yes", False: "no; the nearest plan is shown", None: DASH}[search.target_met]
    failed = sum(1 for episode in results.episodes if episode.failure)
    return (
        ("Agent", search.agent),
        ("Reward", search.reward),
        ("Latency source", SOURCE_WORDS.get(search.latency_source, search.latency_source)),
        ("Episodes", f"{search.episodes:,}" + (f", {failed} failed" if failed else "")),
        ("Wall time", duration(search.wall_s)),
        ("Measurements on the device", number_of(search.device_measurements)),
        ("Dense latency in the search", _with_unit(search.dense_latency_ms, "ms")),
        ("Target, latency / dense", number(search.target_ratio)),
        ("A finalist meets the target", found),
        (
            "Error of the latency table (relative, on variants it was not fitted on)",
            f"median {percent(error.median)}%, 90th percentile {percent(error.p90)}%, n = {error.n}"
            if error
            else f"{DASH} no table was fitted",
        ),
        (
            "The agent's own greedy plan",
            f"latency / dense {number(greedy.ratio)}, validation top-1 {percent(greedy.top1)}%"
            if greedy
            else f"{DASH} the agent gave none",
        ),
    )


def number_of(count: int | None) -> str:
    return DASH if count is None else f"{count:,}"


def _with_unit(value: float | None, unit: str) -> str:
    return DASH if value is None else f"{number(value)} {unit}"


def _finalists(results: Results) -> Grid | None:
    if results.search is None or not results.search.finalists:
        return None
    return Grid(
        title="Finalists, measured afresh and interleaved",
        align="crrrr",
        heads=("Plan", "Episode", "Latency / dense", "95% interval", "Validation top-1, %"),
        rows=tuple(
            (
                finalist.plan_id[:12],
                number_of(finalist.episode),
                number(finalist.ratio),
                interval(finalist.ci95),
                percent(finalist.validation_top1),
            )
            for finalist in results.search.finalists
        ),
    )


def _stages(results: Results) -> Grid:
    known = [seconds for seconds in results.stage_seconds.values() if seconds is not None]
    total = sum(known)

    def line(stage: str) -> tuple[str, str, str]:
        if stage not in results.stage_seconds:
            return stage, "not run", DASH
        seconds = results.stage_seconds[stage]
        return stage, duration(seconds), percent(seconds / total if seconds is not None and total else None)

    rows = [line(stage) for stage in STAGES]
    return Grid("Time", "lrr", ("Stage", "Duration", "Share, %"), (*rows, ("total", duration(total or None), "")))


def _measurements(rows: tuple[Row, ...]) -> Grid | None:
    measured = [(row, row.measurement) for row in rows if row.measurement]
    if not measured:
        return None
    return Grid(
        title="Each measurement",
        align="llrrrrrlrr",
        heads=(
            "Artifact",
            "Device",
            "Runs",
            "Processes",
            "Init, ms",
            "First, ms",
            "Model memory, MB",
            "Delegate: nodes, partitions",
            "Temperature, °C",
            "Clock, MHz",
        ),
        rows=tuple(_measurement_line(row, measurement) for row, measurement in measured),
        note=_why_missing([measurement for _, measurement in measured]),
    )


def _measurement_line(row: Row, measurement: Measurement) -> tuple[str, ...]:
    stats, thermal, delegate, memory = (
        measurement.latency_ms,
        measurement.thermal,
        measurement.delegate,
        measurement.memory,
    )
    return (
        row.label,
        measurement.device.kind,
        number_of(stats.n),
        number_of(len(stats.processes)),
        number(measurement.init_ms),
        number(measurement.first_ms),
        number(memory.model_mb) if memory else DASH,
        f"{delegate.name}: {delegate.nodes_delegated} of {delegate.nodes_total}, {delegate.partitions}"
        if delegate
        else DASH,
        _from_to(thermal.start_c, thermal.end_c) if thermal else DASH,
        _from_to(thermal.freq_mhz_min, thermal.freq_mhz_max) if thermal else DASH,
    )


def _from_to(first: float | None, last: float | None) -> str:
    return DASH if first is None and last is None else f"{number(first)} to {number(last)}"


def _why_missing(measurements: list[Measurement]) -> str:
    """Every reason that stands behind a dash, each once."""
    shown = ("init_ms", "first_ms", "memory", "thermal", "delegate", "power", "fps")
    reasons = dict.fromkeys(
        f"{name}: {one_line(measurement.missing[name])}"
        for measurement in measurements
        for name in shown
        if getattr(measurement, name) is None
    )
    methods = dict.fromkeys(
        f"{name} by {method_words(use.method)}"
        for measurement in measurements
        for name, use in (("Memory", measurement.memory), ("Energy", measurement.power))
        if use
    )
    parts = [f"{'; '.join(methods)}." if methods else "", f"Not available: {'; '.join(reasons)}." if reasons else ""]
    return " ".join(part for part in parts if part)


def provenance(results: Results, rows: tuple[Row, ...]) -> dict[str, Any]:
    """Where every figure comes from: run, machine, devices, files, and the versions of what made them."""
    manifest, config = results.manifest, results.config
    run = (
        ("Run", manifest.run),
        ("Started", manifest.started_at or DASH),
        ("Seed", DASH if manifest.seed is None else str(manifest.seed)),
        ("Git commit", manifest.git_commit or f"{DASH} not run from a git checkout"),
        ("Network", f"{config.model.name}, weights: {config.model.weights or 'trained in this run'}"),
        ("Data", f"{config.data.name} at {config.data.image_size} px"),
        ("Importance, rounding", f"{config.pruning.importance}, multiples of {config.pruning.round_to}"),
        *((f"Machine: {key}", one_line(str(value))) for key, value in manifest.machine.items()),
    )
    versions = tuple((str(key), one_line(str(value))) for key, value in manifest.versions.items())
    return {"run": run, "versions": versions, "grids": [grid for grid in (_devices(rows), _files(rows)) if grid.rows]}


def _devices(rows: tuple[Row, ...]) -> Grid:
    lines = dict.fromkeys(_device_line(row.measurement) for row in rows if row.measurement)
    heads = ("Device", "Kind", "Identity", "System, ABI, SoC", "Runtime", "Runner", "Runner SHA-256", "Specification")
    return Grid("Devices and runtimes", "lllllccl", heads, tuple(lines))


def _device_line(measurement: Measurement) -> tuple[str, ...]:
    device, runtime = measurement.device, measurement.runtime
    return (
        device.model,
        device.kind,
        device.id,
        ", ".join(part for part in (device.os, device.abi, device.soc) if part),
        f"{runtime.name} {runtime.version}",
        runtime.runner,
        (runtime.runner_sha256 or DASH)[:16],
        _spec_words(measurement.spec),
    )


def _spec_words(spec: BenchSpec) -> str:
    pinned = f", CPUs {', '.join(map(str, spec.affinity))}" if spec.affinity else ""
    loop = f"{spec.warmup_runs} warm-up, at least {spec.timed_runs} runs and {number(spec.min_seconds)} s"
    threads = f"{spec.threads} thread{'s' if spec.threads > 1 else ''}"
    return f"{spec.processes} \u00d7 ({loop}), {threads}, {spec.accelerator}{pinned}"


def _files(rows: tuple[Row, ...]) -> Grid:
    heads = (
        "File",
        "SHA-256",
        "Bytes",
        "Parity by",
        "Largest relative error",
        "Top-1 agreement, %",
        "Images",
        "Parity",
    )
    lines = {
        row.artifact.path: (
            row.artifact.path,
            row.artifact.sha256,
            f"{row.artifact.size_bytes:,}",
            row.artifact.parity.method or DASH,
            number(row.artifact.parity.max_rel_error, 2),
            percent(row.artifact.parity.top1_agreement),
            f"{row.artifact.parity.n:,}" if row.artifact.parity.method else DASH,
            _parity_words(row.artifact.parity.passed, row.artifact.parity.reason),
        )
        for row in rows
        if row.artifact
    }
    return Grid("Exported files", "ccrlrrrl", heads, tuple(lines.values()))


def _parity_words(passed: bool | None, reason: str | None) -> str:
    word = {True: "passed", False: "failed", None: "not checked"}[passed]
    return f"{word}: {one_line(reason)}" if reason else word
