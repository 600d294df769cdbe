"""What a run took and under which conditions it measured: each stage's time, each measurement."""

from __future__ import annotations

from device_bench.records import Measurement
from pipeline.report.details import Grid, number_of
from pipeline.report.results import STAGES, Results
from pipeline.report.rows import Row
from pipeline.report.table import method_words
from pipeline.report.text import DASH, duration, number, one_line, percent


def stages_grid(results: Results) -> Grid:
    known = [seconds for seconds in results.stage_seconds.values() if seconds is not None]
    total = sum(known)

    def line(stage: str) -> tuple[str, str, str]:
        if stage not in results.stage_seconds:
            return stage, "not run", DASH
        seconds = results.stage_seconds[stage]
        return stage, duration(seconds), percent(seconds / total if seconds is not None and total else None)

    rows = [line(stage) for stage in STAGES]
    return Grid("Time", "lrr", ("Stage", "Duration", "Share, %"), (*rows, ("total", duration(total or None), "")))


def measurements_grid(rows: tuple[Row, ...]) -> Grid | None:
    """A line for each; with what became of weights that are stored without zeros, where there are some."""
    measured = [(row, row.measurement) for row in rows if row.measurement]
    if not measured:
        return None
    sparse = any(measurement.sparse for _, measurement in measured)
    return Grid(
        title="Each measurement",
        align="llrrrrlrr" + "l" * sparse,
        heads=(
            "Artifact",
            "Device",
            "Runs",
            "Init, ms",
            "First, ms",
            "Model memory, MB",
            "Delegate: nodes, partitions",
            "Temperature, °C",
            "Clock, MHz",
            *(("Weights without zeros",) if sparse else ()),
        ),
        rows=tuple(
            (*_measurement_line(row, measurement), *((_sparse_words(measurement),) if sparse else ()))
            for row, measurement in measured
        ),
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
        number(measurement.init_ms),
        number(measurement.first_ms),
        number(memory.model_mb) if memory else DASH,
        f"{delegate.name}: {delegate.nodes_delegated} of {delegate.nodes_total}, {delegate.partitions}"
        if delegate
        else DASH,
        _from_to(thermal.start_c, thermal.end_c) if thermal else DASH,
        _from_to(thermal.freq_mhz_min, thermal.freq_mhz_max) if thermal else DASH,
    )


def _sparse_words(measurement: Measurement) -> str:
    """Whether sparse mode engaged."""
    use = measurement.sparse
    if use is None:
        return DASH
    if use.kernels is None:
        return f"{use.stored:,} stored sparse; {DASH} how they ran"
    if use.kernels == 0:
        return f"{use.stored:,} stored sparse, computed dense on this device"
    return f"{use.stored:,} stored sparse; 1x1 convolutions on sparse kernels: {use.kernels}"


def _from_to(first: float | None, last: float | None) -> str:
    return DASH if first is None and last is None else f"{number(first)} to {number(last)}"


def _why_missing(measurements: list[Measurement]) -> str:
    """Every reason that stands behind a dash, each once."""
    reasons = dict.fromkeys(
        f"{name}: {one_line(reason)}" for measurement in measurements for name, reason in measurement.missing.items()
    )
    # A thermal record stores no reasons for its parts.
    partial = [measurement.thermal for measurement in measurements if measurement.thermal]
    if any(thermal.start_c is None for thermal in partial):
        reasons["temperature: no sensor was read"] = None
    if any(thermal.freq_mhz_min is None for thermal in partial):
        reasons["clock: no frequency was read"] = None
    methods = dict.fromkeys(
        f"{name} by {method_words(use.method)}"
        for measurement in measurements
        for name, use in (("Memory", measurement.memory), ("Energy", measurement.power))
        if use
    )
    parts = [f"{'; '.join(methods)}." if methods else "", f"Not available: {'; '.join(reasons)}." if reasons else ""]
    return " ".join(part for part in parts if part)
