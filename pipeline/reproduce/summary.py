"""From finished cells to rows: the mean over each row's cells, its spread, and why a figure is missing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, Column, Figures, FinishedCell, Published, Spread, Table

NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Figure:
    """A mean over `n` cells; `spread` is None of one cell, and where all cells agree."""

    mean: float
    spread: float | None
    n: int


@dataclass(frozen=True)
class Row:
    """One row: `cells` belong to it, `done` of them have been run."""

    label: str
    cells: int
    done: int
    figures: Mapping[str, Figure | None]
    missing: Mapping[str, str]
    """Why a figure is None, or rests on fewer cells than are done; by column."""
    paper: Mapping[str, Published]


@dataclass(frozen=True)
class Summary:
    """All that is shown of a table."""

    name: str
    scale: Scale
    title: str
    source: str
    spread: Spread
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    findings: tuple[str, ...]
    """What the finished cells say, in words."""
    notes: tuple[str, ...]
    settings: Any
    cells: int
    finished: tuple[FinishedCell, ...]
    outdated: int
    """Stored cells that were made with other settings, and are not shown."""


def summarise(
    name: str,
    table: Table[Any],
    scale: Scale,
    cells: Sequence[Cell],
    finished: Sequence[FinishedCell | None],
    reasons: Sequence[str],
    outdated: int,
) -> Summary:
    """Args: finished, reasons: of each cell its line, or None and why there is none."""
    labels: dict[str, list[_Part]] = {}
    for cell, line, reason in zip(cells, finished, reasons, strict=True):
        for label, figures in table.rows(cell, line.results if line else None).items():
            labels.setdefault(label, []).append(_Part(figures, None if line else reason))
    rows = [_row(label, parts, table) for label, parts in labels.items()]
    rows += [Row(label, 0, 0, {}, {}, paper) for label, paper in table.paper.items() if label not in labels]
    lines = tuple(line for line in finished if line)
    return Summary(
        name=name,
        scale=scale,
        title=table.title,
        source=table.source,
        spread=table.spread,
        columns=table.columns,
        rows=tuple(rows),
        findings=tuple(table.findings(lines)) if table.findings and lines else (),
        notes=table.notes,
        settings=table.scales[scale].model_dump(mode="json"),
        cells=len(cells),
        finished=lines,
        outdated=outdated,
    )


@dataclass(frozen=True)
class _Part:
    """One cell's part of a row."""

    figures: Figures
    """Of a cell that has not been run the columns that it will fill, if it will not fill all of them."""
    not_run: str | None

    def fills(self, column: Column) -> bool:
        return not self.figures or column.key in self.figures


def _row(label: str, parts: Sequence[_Part], table: Table[Any]) -> Row:
    found: dict[str, Figure | None] = {}
    missing: dict[str, str] = {}
    for column in table.columns:
        own = [part for part in parts if part.fills(column)]
        done = [part.figures for part in own if part.not_run is None]
        not_done = "; ".join(dict.fromkeys(part.not_run for part in own if part.not_run is not None))
        values = [float(figures[column.key]) for figures in done if figures.get(column.key) is not None]
        found[column.key] = _figure(values, table.spread) if values else None
        if not own:
            continue  # the row has no such figure
        if not done:
            missing[column.key] = not_done
        elif len(values) < len(done):
            missing[column.key] = _reason(column.key, done)
    return Row(
        label, len(parts), sum(part.not_run is None for part in parts), found, missing, table.paper.get(label, {})
    )


def _figure(values: Sequence[float], spread: Spread) -> Figure:
    """The sample's standard deviation (n - 1), or that over the root of n."""
    if len(set(values)) == 1:
        return Figure(values[0], None, len(values))
    deviation = statistics.stdev(values)
    error = deviation if spread == "standard deviation" else deviation / len(values) ** 0.5
    return Figure(statistics.fmean(values), error, len(values))


def _reason(key: str, done: Sequence[Figures]) -> str:
    lacking = [figures for figures in done if figures.get(key) is None]
    reasons = dict.fromkeys(str(figures.get("missing", {}).get(key, "no reason was given")) for figures in lacking)
    of_some = f"{len(lacking)} of {len(done)} cells: " if len(lacking) < len(done) else ""
    return of_some + "; ".join(reasons)
