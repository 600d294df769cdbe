"""The latency table in words: where it comes from, and how it erred."""

from __future__ import annotations

from device_bench.records import BenchSpec
from pipeline.report.details import Facts, Grid, number_of
from pipeline.report.stored import LatencyTable, SearchSummary, TableError
from pipeline.report.text import DASH, fine_percent, number, one_line

BAND = 0.02
"""The relative error that the picture of a table's errors marks."""
ESTIMATORS = {
    "tiles": "tiles (work and memory of each operation, in the kernels' tiles)",
    "layers": "layers (single layers, timed alone)",
    "combined": "combined (tiles, layers and caches)",
}


def device_words(table: LatencyTable) -> str:
    return f"{one_line(table.device.model, 60)} ({table.device.kind})"


def table_facts(table: LatencyTable) -> Facts:
    layers = (
        f"{len(table.layers)} single layers"
        if table.layers
        else f"no single layers ({one_line(table.missing.get('layers', 'no reason was stored'))})"
    )
    return (
        ("Runtime", f"{table.runtime.name} {table.runtime.version}, {table.runtime.runner}"),
        ("Specification", spec_words(table.spec)),
        ("Built", table.built_at),
        ("Dense latency", f"{number(table.dense_ms)} ms"),
        ("Fitted on", f"{len(table.points)} variants, {layers}"),
        ("Estimator kept", ESTIMATORS.get(table.estimator or "", table.estimator or DASH)),
        (
            "Staircases",
            f"{sum(map(len, table.steps.values()))} channel counts offered in {len(table.steps)} groups"
            if table.steps
            else f"{DASH} not measured",
        ),
    )


def spec_words(spec: BenchSpec) -> str:
    parts = [f"{spec.timed_runs} runs and {number(spec.min_seconds)} s at least"]
    if spec.precision is None:
        parts.append(f"{spec.processes} process{'es' if spec.processes > 1 else ''}")
    else:
        parts.append(f"{spec.processes} to {spec.max_processes} processes, until known to {100 * spec.precision:g}%")
    parts.append(f"{spec.threads} thread{'s' if spec.threads > 1 else ''} on {spec.accelerator}")
    return ", ".join(parts)


def table_errors(tables: tuple[LatencyTable, ...], search: SearchSummary | None) -> Grid | None:
    lines = [
        (device_words(table), f"{name}, kept" if name == table.estimator else name, *_error_cells(error))
        for table in tables
        for name, error in _named_errors(table)
    ]
    if search and search.hybrid_error:
        lines.append(("worst of all", "kept, corrected by the search", *_error_cells(search.hybrid_error)))
    if not lines:
        return None
    first = 0 if len(tables) > 1 else 1  # the device goes without saying where there is one
    return Grid(
        title="Errors of the latency table",
        align="llrrrr"[first:],
        heads=("Device", "Estimator", "Median, %", "90th percentile, %", "Worst, %", "Networks")[first:],
        rows=tuple(line[first:] for line in lines),
        note="Of predicted over measured, less 1: on random variants that took no part in the fit; corrected by the "
        "search: on the networks that the agent made, each before the table learned from it.",
    )


def _named_errors(table: LatencyTable) -> list[tuple[str, TableError]]:
    if table.errors:
        return list(table.errors.items())
    return [(table.estimator or DASH, table.error)] if table.error else []


def _error_cells(error: TableError) -> tuple[str, ...]:
    return fine_percent(error.median), fine_percent(error.p90), fine_percent(error.worst), number_of(error.n)


def hybrid_words(search: SearchSummary | None) -> str:
    errors = search.hybrid_errors if search else ()
    inside = sum(1 for error in errors if abs(error) <= BAND)
    return f"{inside} of {len(errors)} within \u00b1{100 * BAND:g}%" if errors else ""
