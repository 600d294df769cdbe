"""What all tables of the terminal have in common: columns, figures, folded lines, reasons of what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from rich.console import Console
from rich.table import Table

from device_bench.endurance import SustainedRun
from device_bench.records import Measurement


def new_table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def show(table: Table) -> None:
    Console(highlight=False).print(table)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def folded(text: str) -> str:
    """Lines of at most 80 columns, all but the first indented."""
    return "\n".join(fill(line, 80, initial_indent="  ", subsequent_indent="  ") for line in text.splitlines()).lstrip()


def processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def reasons(measurements: Sequence[Measurement] | Sequence[SustainedRun]) -> list[str]:
    """Why figures are missing, those of one reason on one line."""
    names: dict[str, dict[str, None]] = {}
    for measurement in measurements:
        for name, why in measurement.missing.items():
            names.setdefault(why, {})[name] = None
    return sorted(f"no {', '.join(these)}: {why}" for why, these in names.items())
