"""What a table is: its cells, how one is run, and what the paper says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime

from pipeline.records import Record
from pipeline.reproduce.scale import Scale
from pipeline.run_folder import hash_json
from pipeline.section import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.reproduce.context import Context

Cell = Mapping[str, str | int | float]
"""The identity of one part of a table: flat, and the same in every run."""
Results = Mapping[str, Any]
"""What a cell found, as plain JSON; `missing` holds the reason of every None."""
Figures = Mapping[str, Any]
"""One row's results by column; None is a figure that is not known."""
Published = float | tuple[float, float]
"""A paper's figure, with its spread where the paper gives one."""
Spread = Literal["standard deviation", "standard error"]


class FinishedCell(Record):
    """One line of `OUT/<table>-<scale>.jsonl`."""

    table: str
    scale: Scale
    cell: dict[str, str | int | float]
    settings_sha256: str
    results: dict[str, Any]
    seconds: float
    started_at: AwareDatetime
    git_commit: str | None
    versions: dict[str, str | None]
    machine: dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A result that the printed table shows.

    Args:
        key: the result's name.
        heading: with the unit, such as `top-1, %`.
        digits: after the point.
        factor: what the result is multiplied by to be in the heading's unit: 100 makes a share of 1 a percentage.
    """

    key: str
    heading: str
    digits: int = 1
    factor: float = 1.0

    def text(self, value: float) -> str:
        return f"{value * self.factor:,.{self.digits}f}"


def percent(key: str, heading: str, digits: int = 1) -> Column:
    """A share of 1, shown in percent."""
    return Column(key, f"{heading}, %", digits, 100.0)


def by_keys(*keys: str) -> Callable[[Cell, Results | None], Mapping[str, Figures]]:
    """A cell is in one row, named by these keys of it; its results are the figures."""
    return lambda cell, results: {", ".join(str(cell[key]) for key in keys): results or {}}


ONE_ROW = by_keys("row")


@dataclass(frozen=True)
class Table[S: Section]:
    """See the docstring of `pipeline.reproduce` for what each field means."""

    title: str
    source: str
    scales: Mapping[Scale, S]
    cells: Callable[[S, int], Sequence[Cell]]
    run: Callable[[Cell, Context[S]], Results]
    columns: tuple[Column, ...]
    paper: Mapping[str, Mapping[str, Published]]
    rows: Callable[[Cell, Results | None], Mapping[str, Figures]] = ONE_ROW
    spread: Spread = "standard deviation"
    pictures: Callable[[Sequence[FinishedCell]], Mapping[str, Figure]] | None = None
    depends: Callable[[Cell, S], Any] = lambda cell, settings: settings
    findings: Callable[[Sequence[FinishedCell]], Sequence[str]] | None = None
    notes: tuple[str, ...] = ()
    version: int = 1

    def settings_hash(self, cell: Cell, scale: Scale) -> str:
        """What the cell's results depend on; a stored cell with another hash is run again."""
        return hash_json([self.version, dict(cell), self.depends(cell, self.scales[scale])])


def cell_name(cell: Cell) -> str:
    """`row=dense rewards seed=0`"""
    return " ".join(f"{key}={value}" for key, value in cell.items())
