"""A table as Markdown, JSON, PNG and on the terminal: ours, and the paper's figures under them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.reproduce.summary import Figure, Row, Summary
from pipeline.reproduce.table import Column, Published, Table
from pipeline.run_folder import write_json, write_text, writing

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable

NONE = "-"
SECTION = ": "
NAMED = 6
"""Rows that lack a figure for the same reason are named, if they are no more than this."""


def write_files(summary: Summary, table: Table[Any], out: Path) -> None:
    """Write `OUT/<table>-<scale>.md`, `.json` and `-<picture>.png`; pictures that there is no data for any more go."""
    stem = f"{summary.name}-{summary.scale}"
    figures = dict(table.pictures(summary.finished)) if table.pictures and summary.finished else {}
    names = [f"{stem}-{name}.png" for name in figures]
    with writing(out):
        for stale in set(path.name for path in out.glob(f"{stem}-*.png")) - set(names):
            (out / stale).unlink()
        if figures:
            from pipeline.report.figures import save

            for name, figure in zip(names, figures.values(), strict=True):
                save(figure, out / name)
        write_text(out / f"{stem}.md", markdown(summary, names))
        write_json(out / f"{stem}.json", as_json(summary))


def as_json(summary: Summary) -> dict[str, Any]:
    """Figures as they were found: shares of 1, not percent."""
    return {
        "table": summary.name,
        "scale": summary.scale,
        "title": summary.title,
        "source": summary.source,
        "spread": summary.spread,
        "settings": summary.settings,
        "columns": [{"key": column.key, "heading": column.heading} for column in summary.columns],
        "rows": [_row_json(row) for row in summary.rows],
        "findings": summary.findings,
        "notes": summary.notes,
        "cells": summary.cells,
        "cells_done": len(summary.finished),
        "cells_outdated": summary.outdated,
        "seconds": sum(line.seconds for line in summary.finished),
    }


def _row_json(row: Row) -> dict[str, Any]:
    figures = {
        key: figure and {"mean": figure.mean, "spread": figure.spread, "n": figure.n}
        for key, figure in row.figures.items()
    }
    paper = {
        key: {"value": value, "spread": spread}
        for key, (value, spread) in ((k, _pair(v)) for k, v in row.paper.items())
    }
    return {
        "row": row.label,
        "cells": row.cells,
        "cells_done": row.done,
        "figures": figures,
        "missing": dict(row.missing),
        "paper": paper,
    }


def markdown(summary: Summary, pictures: list[str]) -> str:
    headings = ["", "", *(column.heading for column in summary.columns)]
    lines = [" | ".join(line) for line in _lines(summary)]
    parts = [
        f"# {summary.title}",
        f"{summary.source}. `pocketprune reproduce {summary.name} --scale {summary.scale}`; {about(summary)}",
        "\n".join(
            [
                f"| {' | '.join(headings)} |",
                f"|---|---|{'---:|' * len(summary.columns)}",
                *(f"| {line} |" for line in lines),
            ]
        ),
        "\n".join(f"- {finding}" for finding in summary.findings),
        "\n".join(f"- {reason}" for reason in reasons(summary)),
        "\n\n".join(f"![{Path(name).stem}]({name})" for name in pictures),
        "\n".join(f"- {note}" for note in summary.notes),
        f"Settings of this scale:\n\n```\n{yaml.safe_dump(summary.settings, sort_keys=False)}```",
        _where(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def print_summary(summary: Summary) -> None:
    """At most 80 columns where the terminal has no more."""
    from pipeline.terminal.tables import folded, new_table, show

    print(folded(f"{summary.title}. {summary.source}."))
    for name, lines in _sections(list(_lines(summary))).items():
        if name:
            print(f"\n{folded(name)}")
        table: TerminalTable = new_table(
            ("", "left"), ("", "left"), *((column.heading, "right") for column in summary.columns)
        )
        for line in lines:
            table.add_row(*line)
        show(table)
    print(folded(about(summary)))
    for text in (*summary.findings, *reasons(summary), *summary.notes):
        print(folded(text))


def _sections(lines: list[list[str]]) -> dict[str, list[list[str]]]:
    """The lines by what stands before the colon of their label; all under no name, unless every label has one.

    A network's name in each label leaves too little of 80 columns to the rest.
    """
    if not all(SECTION in label for label, *_ in lines if label):
        return {"": lines}
    sections: dict[str, list[list[str]]] = {}
    name = ""
    for label, *figures in lines:
        first, _, rest = label.partition(SECTION)
        name = first or name  # the paper's line has no label, and belongs to the row above
        sections.setdefault(name, []).append([rest, *figures])
    return sections


def about(summary: Summary) -> str:
    """What the figures of the table are."""
    text = f"{len(summary.finished)} of {summary.cells} cells done; ours are means over cells ± {summary.spread}."
    if summary.outdated:
        text += f" {summary.outdated} stored cells were made with other settings and are not shown."
    return text


def reasons(summary: Summary) -> list[str]:
    """Why figures are missing: one line for each row and reason, with the columns; many rows of one reason together."""
    found: dict[str, list[str]] = {}
    for row in summary.rows:
        columns: dict[str, list[str]] = {}
        for column in summary.columns:
            if reason := row.missing.get(column.key):
                columns.setdefault(reason, []).append(column.heading)
        for reason, headings in columns.items():
            which = "" if len(headings) == len(summary.columns) else f", {', '.join(headings)}"
            found.setdefault(f"{which}: {reason}", []).append(row.label)
    lines = []
    for reason, labels in found.items():
        lines += [label + reason for label in labels] if len(labels) <= NAMED else [f"{len(labels)} rows{reason}"]
    return lines


def _lines(summary: Summary) -> Iterator[list[str]]:
    """One line of ours for each row that has cells, one of the paper's where it has figures."""
    for row in summary.rows:
        label = row.label
        if row.cells:
            n = str(row.done) if row.done == row.cells else f"{row.done} of {row.cells}"
            yield [label, f"ours ({n})", *(_ours(row.figures[column.key], column) for column in summary.columns)]
            label = ""
        if row.paper:
            yield [label, "paper", *(_papers(row.paper.get(column.key), column) for column in summary.columns)]


def _ours(figure: Figure | None, column: Column) -> str:
    return NONE if figure is None else _text(figure.mean, figure.spread, column)


def _papers(published: Published | None, column: Column) -> str:
    return "" if published is None else _text(*_pair(published), column)


def _text(value: float, spread: float | None, column: Column) -> str:
    return column.text(value) + (f" ± {column.text(spread)}" if spread is not None else "")


def _pair(published: Published) -> tuple[float, float | None]:
    return published if isinstance(published, tuple) else (published, None)


def _where(summary: Summary) -> str:
    """On which machines, when and in what time the cells were run."""
    if not summary.finished:
        return ""
    machines = dict.fromkeys(f"{line.machine['model']} ({line.machine['cpu_count']} CPUs)" for line in summary.finished)
    days = sorted(f"{line.started_at:%Y-%m-%d}" for line in summary.finished)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    minutes = sum(line.seconds for line in summary.finished) / 60
    return f"Run on {', '.join(machines)}, {when}, in {minutes:.1f} minutes of one process in all."
