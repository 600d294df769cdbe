"""The report for programs (`summary.json`) and for a terminal or a pull request (`summary.md`)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from pipeline.records import Artifact
from pipeline.report.operations import operation_times, operations_grid
from pipeline.report.results import ArtifactResult, Results, VariantResult
from pipeline.report.rows import Row
from pipeline.report.table import COLUMNS, Cell, Column, Notes
from pipeline.report.text import DASH, one_line
from pipeline.report.verdict import Verdict

MD_WIDTH = 100
MD_TABLES = (
    ("variant", "file", "device", "top1", "latency_median_ms", "speedup"),
    ("variant", "file", "device", "latency_p95_ms", "fps", "peak_rss_mb", "energy_mj", "size_bytes", "status"),
)
FILE = Column("file", "File", "", lambda row: Cell(_file(row)), numeric=False)
"""Format and precision in one column, which Markdown's narrow tables need."""


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


def _file(row: Row) -> str:
    return f"{row.artifact.format} {row.artifact.precision}" if row.artifact else DASH


def summary_md(results: Results, rows: tuple[Row, ...], verdict: Verdict) -> str:
    """The verdict and the summary table in Markdown, about a hundred columns wide."""
    notes = Notes()
    said = [f"{check.name} target {check.met}: asked {check.asked}; {check.got}." for check in verdict.checks]
    said += [verdict.recommendation] if verdict.recommendation else []
    config = results.config
    blocks = [
        [f"# {escape_md(f'{config.name}: {config.model.name} on {config.data.name}')}"],
        _wrapped(verdict.headline),
        _wrapped(verdict.search_worth),
        [line for text in said for line in _wrapped(text, "- ")],
        *[_measured_table(rows, keys, notes) for keys in MD_TABLES],
        _measured_table(tuple(_first_of_each(rows)), ("variant", "params", "macs"), notes),
        *_operations(rows),
        [line for index, text in enumerate(notes.texts, start=1) for line in _wrapped(text, f"{index}. ")],
        [line for text in verdict.warnings for line in _wrapped(text, "- ")],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _operations(rows: tuple[Row, ...]) -> list[list[str]]:
    """Where the time went, or why that is not known."""
    times = operation_times(rows)
    if isinstance(times, str):
        return [_wrapped(times)]
    grid = operations_grid(times)
    narrow = [i for i, head in enumerate(grid.heads) if head != "Run as"]
    body = [[escape_md(one_line(line[i], 48)) for i in narrow] for line in grid.rows]
    title = f"{grid.title} (TFLite fp32 on {times.device}, in a pass of its own)"
    table = _table([grid.heads[i] for i in narrow], body, [grid.align[i] == "r" for i in narrow])
    return [_wrapped(title), table, _wrapped(grid.note)]


def _first_of_each(rows: tuple[Row, ...]) -> list[Row]:
    return list({row.variant.name: row for row in reversed(rows)}.values())[::-1]


def _wrapped(text: str, bullet: str = "") -> list[str]:
    return textwrap.wrap(
        escape_md(text), MD_WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_long_words=False
    )


def _measured_table(rows: tuple[Row, ...], keys: Sequence[str], notes: Notes) -> list[str]:
    known = {column.key: column for column in (*COLUMNS, FILE)}
    columns = [known[key] for key in keys]
    heads = [f"{column.title}, {column.unit}" if column.numeric and column.unit else column.title for column in columns]
    body = [[_md_cell(column, row, notes) for column in columns] for row in rows]
    return _table(heads, body, [column.numeric for column in columns])


def _md_cell(column: Column, row: Row, notes: Notes) -> str:
    cell = column.cell(row)
    shown = escape_md(cell.text)
    if cell.reason:
        return f"{shown} [{notes.mark(cell.reason)}]"
    # The device's model and the energy's interval are too wide here; the page has them.
    return shown if column.key in ("device", "energy_mj") or not cell.detail else f"{shown} ({escape_md(cell.detail)})"


def _table(heads: list[str], body: list[list[str]], numeric: list[bool]) -> list[str]:
    widths = [max(3, *(len(line[index]) for line in [heads, *body])) for index in range(len(heads))]
    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]

    def joined(cells: list[str]) -> str:
        sides = zip(cells, widths, numeric, strict=True)
        return f"| {' | '.join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in sides)} |"

    return [joined(heads), joined(rule), *[joined(line) for line in body]]


def escape_md(text: str) -> str:
    """Text of a file as plain text in Markdown: no HTML, no table borders, no new line."""
    flat = one_line(text, 2000).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|`*\[\]])", r"\\\1", flat)
