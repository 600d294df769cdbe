"""Writes the report of a run, or one page over several runs, from what the runs stored."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.errors import StorageError
from pipeline.report import text
from pipeline.report.conditions import measurements_grid, stages_grid
from pipeline.report.details import overview, run_details
from pipeline.report.operations import operation_times, operations_grid
from pipeline.report.provenance import provenance
from pipeline.report.reasons import reasons
from pipeline.report.results import read_results
from pipeline.report.rows import Row, build_rows
from pipeline.report.summary import summary_json, summary_md
from pipeline.report.table import COLUMNS, table_cells
from pipeline.report.trust import build_trust
from pipeline.report.verdict import build_verdict


def write_report(run_dir: Path, out_dir: Path) -> Path:
    """Write `index.html`, `summary.json`, `summary.md` and the pictures of a run, however far it got.

    Returns:
        The path of `index.html`.

    Raises:
        StorageError: the run cannot be read (DamagedFileError), or the folder cannot be written.
    """
    # Here and not above: the command line imports this file, and these two take a second to load.
    from plotly.offline import get_plotlyjs

    from pipeline.report.charts import build_charts
    from pipeline.report.pictures import write_pictures

    results = read_results(run_dir)
    rows = build_rows(results)
    verdict = build_verdict(results, rows)
    times = operation_times(rows)
    page = _render(
        "page.html.j2",
        results=results,
        verdict=verdict,
        details=run_details(results, rows),
        stages=stages_grid(results),
        measurements=measurements_grid(rows),
        reasons=reasons(results),
        operations=None if isinstance(times, str) else operations_grid(times),
        operations_of=times if isinstance(times, str) else times.device,
        trust=build_trust(results, rows),
        provenance=provenance(results, rows),
        charts=_finite(build_charts(results, rows)),
        plotly_js=get_plotlyjs(),
        **_table(rows),
    )
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        write_pictures(results, rows, out_dir)
        _write(out_dir / "summary.json", json.dumps(_finite(summary_json(results)), indent=2) + "\n")
        _write(out_dir / "summary.md", summary_md(results, rows, verdict))
        return _write(out_dir / "index.html", page)
    except OSError as error:
        raise _unwritable(out_dir, error) from error


def compare_report(run_dirs: list[Path], out_dir: Path) -> Path:
    """Write one page, `index.html`, with the variants of several runs side by side.

    Raises:
        StorageError: a run cannot be read (DamagedFileError), or the folder cannot be written.
    """
    read = [(results, build_rows(results)) for results in map(read_results, run_dirs)]
    runs = [{"results": results, "verdict": build_verdict(results, rows), **_table(rows)} for results, rows in read]
    page = _render("compare.html.j2", runs=runs, overview=overview(read))
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        return _write(out_dir / "index.html", page)
    except OSError as error:
        raise _unwritable(out_dir, error) from error


def _table(rows: tuple[Row, ...]) -> dict[str, Any]:
    cells, notes = table_cells(rows)
    return {"columns": COLUMNS, "rows": list(zip(rows, cells, strict=True)), "notes": notes}


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("pipeline.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(text=text, **values)


def _finite(value: Any) -> Any:
    """The value with null for NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _write(path: Path, content: str) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)
    return path


def _unwritable(out_dir: Path, error: OSError) -> StorageError:
    return StorageError(f"{out_dir}: the report cannot be written ({error}); free space there or name another folder")
