"""The report for programs (`summary.json`) and for a terminal or a pull request (`summary.md`)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from device_bench.records import NoiseFloor
from pipeline.records import Artifact
from pipeline.report.details import Grid
from pipeline.report.operations import operation_times, operations_grid
from pipeline.report.reasons import reasons
from pipeline.report.results import ArtifactResult, Results, VariantResult
from pipeline.report.rows import Row
from pipeline.report.stored import LatencyTable
from pipeline.report.table import COLUMNS, Cell, Column, Notes
from pipeline.report.text import DASH, one_line
from pipeline.report.trust import build_trust, known_noise, paid_by_table
from pipeline.report.verdict import Verdict

MD_WIDTH = 100
MD_TABLES = (
    ("variant", "file", "device", "top1", "latency_median_ms", "speedup"),
    ("variant", "file", "device", "latency_p95_ms", "fps", "peak_rss_mb", "energy_mj", "size_bytes", "status"),
)
FILE = Column("file", "File", "", lambda row: Cell(_file(row)), numeric=False)
"""Format and precision in one column, which Markdown's narrow tables need."""


def summary_json(results: Results) -> dict[str, Any]:
    """The stored values in one object, as `docs/report.md` lays it out."""
    tables = results.latency_tables
    return {
        "run": results.config.name,
        "device": ", ".join(results.config.device_specs()),
        "data": results.config.data.name,
        "search": _search(results),
        "latency_tables": [_table_record(table) for table in tables.tables] if tables else [],
        "noise": [_noise(*known) for known in known_noise(results)],
        "variants": [_variant(variant) for variant in results.variants],
    }


def _search(results: Results) -> dict[str, Any] | None:
    search = results.search
    if search is None:
        return None
    error, rejected = results.table_error, search.rejected_measurements
    return {
        "agent": search.agent,
        "reward": search.reward,
        "cost": search.cost,
        "latency_source": search.latency_source,
        "episodes": search.episodes,
        "wall_s": search.wall_s,
        "device_measurements": search.device_measurements,
        "latency_table_error": error.model_dump() if error else None,
        "hybrid_error": search.hybrid_error.model_dump() if search.hybrid_error else None,
        "hybrid_errors": search.hybrid_errors,
        "unstable_measurements": search.unstable_measurements,
        "repeated_processes": search.repeated_processes,
        "rejected_measurements": None if rejected is None else [line.model_dump() for line in rejected],
        "episodes_paid_by_table": paid_by_table(results),
        "energy": search.energy.model_dump() if search.energy else None,
        "rounds": [one.model_dump() for one in search.rounds],
        "explanations": [one.model_dump(include={"site", "kept", "text"}) for one in results.explanations],
    }


def _table_record(table: LatencyTable) -> dict[str, Any]:
    """All but the measurements that it was fitted on, and the staircases."""
    kept = table.model_dump(mode="json", exclude={"points", "layers", "staircases"})
    return kept | {"variants": len(table.points), "layers": len(table.layers)}


def _noise(of: str, device: str, floor: NoiseFloor | str) -> dict[str, Any]:
    known = isinstance(floor, NoiseFloor)
    return {
        "of": of,
        "device": device,
        "floor": floor.model_dump(mode="json") if isinstance(floor, NoiseFloor) else None,
        "missing": {} if known else {"floor": floor},
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
        "sparsity": record.sparsity,
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
        *_reasons(results),
        *_trust(results, rows),
        [line for index, text in enumerate(notes.texts, start=1) for line in _wrapped(text, f"{index}. ")],
        [line for text in verdict.warnings for line in _wrapped(text, "- ")],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _operations(rows: tuple[Row, ...]) -> list[list[str]]:
    """Where the time went, or why that is not known."""
    times = operation_times(rows)
    if isinstance(times, str):
        return [_wrapped(times)]
    title, *rest = _narrow(operations_grid(times), ("Run as",))
    return [_wrapped(f"{' '.join(title)} (TFLite fp32 on {times.device}, in a pass of its own)"), *rest]


def _reasons(results: Results) -> list[list[str]]:
    """Why each group was pruned as it was; of many those that the features moved most."""
    found = reasons(results)
    if found is None:
        return []
    lead = f"Why each {found.site_word} was pruned as it was. {found.lead}"
    if found.rest:
        lead += f" The {len(found.told)} of {len(found.rest)} {found.site_word}s that the features moved most:"
    return [_wrapped(lead), [line for name, text in found.told for line in _wrapped(f"{name}: {text}", "- ")]]


def _trust(results: Results, rows: tuple[Row, ...]) -> list[list[str]]:
    """What can be told apart, what was repeated, and how the search's measurements and its table went."""
    trust = build_trust(results, rows)
    facts = (*trust.search, ("The latency table while searching", trust.hybrid_words))
    said = [f"{name}: {value}" for name, value in facts if value]
    return [
        _wrapped(f"How far these figures can be trusted. {trust.lead}"),
        *_narrow(trust.processes, ("Why repeated", "Mark")),
        [line for text in said for line in _wrapped(text, "- ")],
        *_narrow(trust.table_errors, ()),
        *_narrow(trust.energy, ("Method",)),
    ]


def _narrow(grid: Grid | None, without: tuple[str, ...]) -> list[list[str]]:
    """A table of the page less the columns that are too wide here, with its title and note."""
    if grid is None:
        return []
    kept = [index for index, head in enumerate(grid.heads) if head not in without]
    body = [[escape_md(one_line(line[index], 48)) for index in kept] for line in grid.rows]
    table = _table([grid.heads[index] for index in kept], body, [grid.align[index] == "r" for index in kept])
    return [_wrapped(grid.title), table, _wrapped(grid.note)]


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
    # The device's model and the energy's interval are too wide here; the page has them.
    if cell.detail and column.key not in ("device", "energy_mj"):
        shown = f"{shown} ({escape_md(cell.detail)})"
    return f"{shown} [{notes.mark(cell.reason)}]" if cell.reason else shown


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
