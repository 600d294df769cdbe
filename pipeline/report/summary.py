"""The report for programs (`summary.json`) and for a terminal or a pull request (`summary.md`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.records import Artifact
from pipeline.report.results import ArtifactResult, Results, VariantResult
from pipeline.report.rows import Row
from pipeline.report.table import COLUMNS, STATUS_WORDS, Cell, Notes
from pipeline.report.text import one_line
from pipeline.report.verdict import Verdict

MD_TABLES = (
    ("variant", "format", "precision", "device", "top1", "latency_median_ms", "latency_p95_ms", "speedup"),
    ("variant", "format", "precision", "device", "fps", "peak_rss_mb", "energy_mj", "size_bytes", "params", "macs"),
)


def summary_json(results: Results) -> dict[str, Any]:
    """The stored values in one object, as the design's `report/summary.json` lays it out."""
    return {
        "run": results.config.name,
        "device": ", ".join(results.config.device_specs()),
        "data": results.config.data.name,
        "search": _search(results),
        "variants": [_variant(variant) for variant in results.variants],
    }


def _search(results: Results) -> dict[str, Any] | None:
    search = results.search
    if search is None:
        return None
    error = search.latency_table_error or results.table_error
    return {
        "agent": search.agent,
        "reward": search.reward,
        "latency_source": search.latency_source,
        "episodes": search.episodes,
        "wall_s": search.wall_s,
        "device_measurements": search.device_measurements,
        "latency_table_error": error.model_dump() if error else None,
    }


def _variant(variant: VariantResult) -> dict[str, Any]:
    record = variant.record
    evaluation = record.evaluation
    return {
        "name": record.name,
        "top1": evaluation.top1 if evaluation else None,
        "top5": evaluation.top5 if evaluation else None,
        "n_images": evaluation.n_images if evaluation else None,
        "params": record.params,
        "macs": record.macs,
        "plan": record.plan,
        "artifacts": [_artifact(result) for result in variant.artifacts],
    }


def _artifact(result: ArtifactResult) -> dict[str, Any]:
    artifact: Artifact = result.artifact
    return {
        "format": artifact.format,
        "precision": artifact.precision,
        "path": artifact.path,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "top1": artifact.evaluation.top1 if artifact.evaluation else None,
        "parity": artifact.parity.model_dump(exclude={"reason"}),
        "measurements": [measurement.model_dump(mode="json") for measurement in result.measurements],
    }


def summary_md(results: Results, rows: tuple[Row, ...], verdict: Verdict) -> str:
    """The verdict and the summary table in Markdown, at most about a hundred columns wide."""
    notes, config = Notes(), results.config
    checks = [
        f"- {check.name} target {check.met}: {check.asked} asked, {check.got} measured" for check in verdict.checks
    ]
    tables = [_md_table(rows, keys, notes) for keys in MD_TABLES]
    lines = [
        f"# {escape_md(f'{config.name}: {config.model.name} on {config.data.name}')}",
        "",
        escape_md(verdict.headline),
        "",
        *[escape_md(check) for check in checks],
        *([f"- {escape_md(verdict.recommendation)}"] if verdict.recommendation else []),
        "",
        *tables[0],
        "",
        *tables[1],
        "",
        *[f"{index}. {escape_md(text)}" for index, text in enumerate(notes.texts, start=1)],
        *([""] if notes.texts else []),
        *[f"- {escape_md(warning)}" for warning in verdict.warnings],
    ]
    return "\n".join(lines).rstrip() + "\n"


def _md_table(rows: tuple[Row, ...], keys: Sequence[str], notes: Notes) -> list[str]:
    columns = [column for column in COLUMNS if column.key in keys]
    heads = [f"{column.title} ({column.unit})" if column.unit else column.title for column in columns]
    body = [[_md_cell(column.cell, column.key, row, notes) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in [heads, *body]) for index in range(len(columns))]
    rule = [
        ("-" * (width - 1) + ":") if column.numeric else "-" * width
        for column, width in zip(columns, widths, strict=True)
    ]

    def joined(cells: list[str]) -> str:
        padded = [
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    return [joined(heads), joined(rule), *[joined(line) for line in body]]


def _md_cell(read: Callable[[Row], Cell], key: str, row: Row, notes: Notes) -> str:
    cell = read(row)
    shown = escape_md(cell.text)
    if cell.reason:
        return f"{shown} [{notes.mark(cell.reason)}]"
    if key == "variant" and row.problems:
        return f"{shown} ({STATUS_WORDS[row.status]})"
    return shown if key == "device" or not cell.detail else f"{shown} ({escape_md(cell.detail)})"


def escape_md(text: str) -> str:
    """Text of a file as plain text in Markdown: no HTML, no table borders, no new line."""
    flat = one_line(text, 2000).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|`*\[\]])", r"\\\1", flat)
