"""The loop over what is left of a table; stopped at any instant, it goes on where it was."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import reproduce
from pipeline.errors import ConfigError, PipelineError, StorageError
from pipeline.progress import Progress, Silent
from pipeline.provenance import git_commit, versions
from pipeline.reproduce.context import Context, make_folder
from pipeline.reproduce.render import write_files
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.store import Store, identity, locked_if_free
from pipeline.reproduce.summary import NOT_RUN, Summary, summarise
from pipeline.reproduce.table import Cell, FinishedCell, Results, Table, cell_name

ELSEWHERE = "being run by another process"


@dataclass(frozen=True)
class Request:
    """What to run, and where; `only` are KEY=VALUE pairs that a cell must have (several values of one key: any)."""

    table: str
    scale: Scale = Scale.small
    seeds: int = 3
    only: tuple[str, ...] = ()
    out: Path = Path("docs/results/reproduce")
    work: Path = Path("runs/reproduce")
    table_only: bool = False


def run_table(request: Request, progress: Progress | None = None) -> tuple[Summary, dict[str, str]]:
    """Run the cells that are not finished, then write the table's files below `request.out`.

    A cell that fails for a reason of its own (training diverged, a measurement was rejected) leaves the others alone.

    Returns:
        The summary, and what went wrong by the cell's name.

    Raises:
        ConfigError: the table, its data or the choice of cells; StorageError: a folder that cannot be written.
    """
    job = _Job(request, progress or Silent())
    if not request.table_only:
        job.run()
    summary = job.summary()
    write_files(summary, job.table, make_folder(request.out))
    return summary, job.failures


class _Job:
    """One process's work on one table."""

    def __init__(self, request: Request, progress: Progress) -> None:
        self.table: Table[Any] = reproduce.find(request.table)
        self.failures: dict[str, str] = {}
        self._request, self._progress = request, progress
        self._cells = list(self.table.cells(self.table.scales[request.scale], request.seeds))
        self._hashes = [self.table.settings_hash(cell, request.scale) for cell in self._cells]
        self._store = Store(request.out / f"{request.table}-{request.scale}.jsonl")
        self._busy: set[str] = set()

    def run(self) -> None:
        import torch

        chosen = choose(self._cells, self._request.only)
        self._tell_what_changed()
        if self._request.scale is not Scale.paper:
            torch.set_num_threads(1)  # the command is started once for each core, and results do not depend on cores
        for cell in chosen:
            if self._line(cell) is None:
                self._run_if_free(cell, chosen)

    def summary(self) -> Summary:
        finished = self._finished()
        lines = [finished.get(key) for key in self._keys()]
        current = set(self._keys())
        return summarise(
            self._request.table,
            self.table,
            self._request.scale,
            self._cells,
            lines,
            [self._reason(cell) for cell in self._cells],
            outdated=sum(key not in current and key[0] in {first for first, _ in current} for key in finished),
        )

    def _keys(self) -> list[tuple[str, str]]:
        return [(identity(cell), settings) for cell, settings in zip(self._cells, self._hashes, strict=True)]

    def _finished(self) -> dict[tuple[str, str], FinishedCell]:
        return {(identity(line.cell), line.settings_sha256): line for line in self._store.finished()}

    def _line(self, cell: Cell) -> FinishedCell | None:
        return self._finished().get((identity(cell), self._hash(cell)))

    def _results(self, cell: Cell) -> Results | None:
        line = self._line(cell)
        return line.results if line else None

    def _hash(self, cell: Cell) -> str:
        return self._hashes[self._cells.index(cell)]

    def _reason(self, cell: Cell) -> str:
        if cell_name(cell) in self.failures:
            return f"failed: {self.failures[cell_name(cell)]}"
        return ELSEWHERE if cell_name(cell) in self._busy else NOT_RUN

    def _tell_what_changed(self) -> None:
        finished = self._finished()
        known = {first for first, _ in finished}
        changed = [
            c for c, key in zip(self._cells, self._keys(), strict=True) if key[0] in known and key not in finished
        ]
        for cell in changed:
            self._progress.stage(cell_name(cell), "stored with other settings: it is run again")

    def _run_if_free(self, cell: Cell, chosen: Sequence[Cell]) -> None:
        name = f"{self._request.table}-{self._request.scale}"
        folder = make_folder(self._request.work / name / f"{identity(cell)[:8]}-{self._hash(cell)[:8]}")
        with locked_if_free(folder) as free:
            if not free:
                self._busy.add(cell_name(cell))
                self._progress.stage(cell_name(cell), ELSEWHERE)
                return
            if self._line(cell) is not None:  # another process finished it a moment ago
                return
            self._progress.stage(cell_name(cell), f"started ({self._how_far(chosen)})")
            try:
                line = self._run(cell, make_folder(folder / "scratch"))
            except (ConfigError, StorageError):  # of every cell, not of this one
                raise
            except PipelineError as error:
                self.failures[cell_name(cell)] = str(error)
                self._progress.stage(cell_name(cell), f"failed: {error}")
                return
            self._store.add(line)
            shutil.rmtree(folder / "scratch", ignore_errors=True)
            self._progress.stage(cell_name(cell), f"done in {line.seconds:.0f} s ({self._how_far(chosen)})")

    def _run(self, cell: Cell, scratch: Path) -> FinishedCell:
        request = self._request
        context = Context(
            settings=self.table.scales[request.scale],
            folder=scratch,
            progress=self._progress,
            work=make_folder(request.work),
            finished=self._results,
        )
        started_at, started = datetime.now(UTC).replace(microsecond=0), time.monotonic()
        results = dict(self.table.run(cell, context))
        return FinishedCell(
            table=request.table,
            scale=request.scale,
            cell=dict(cell),
            settings_sha256=self._hash(cell),
            results=results,
            seconds=round(time.monotonic() - started, 1),
            started_at=started_at,
            git_commit=git_commit(),
            versions=versions(),
            machine=_machine(),
        )

    def _how_far(self, chosen: Sequence[Cell]) -> str:
        """`3 of 9 done, about 12 min left`: a cell takes as long as those of its row did, else as long as all did."""
        finished = self._finished()
        lines = {identity(cell): finished.get((identity(cell), self._hash(cell))) for cell in chosen}
        seconds: dict[Any, list[float]] = {}
        for line in (line for line in lines.values() if line):
            for key in (line.cell.get("row"), None):
                seconds.setdefault(key, []).append(line.seconds)
        left = [cell for cell in chosen if lines[identity(cell)] is None]
        far = f"{len(chosen) - len(left)} of {len(chosen)} done"
        if not left or not seconds:
            return far
        wait = sum(statistics.fmean(seconds.get(cell.get("row"), seconds[None])) for cell in left)
        return f"{far}, about {wait / 60:.0f} min left" if wait >= 90 else f"{far}, about {wait:.0f} s left"


def choose(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells with these KEY=VALUE pairs.

    Raises:
        ConfigError: a pair that is none, a key that no cell has, or nothing left.
    """
    wanted: dict[str, set[str]] = {}
    keys = dict.fromkeys(key for cell in cells for key in cell)
    for pair in only:
        key, separator, value = pair.partition("=")
        if not separator or key not in keys:
            raise ConfigError(f"--only {pair!r}: write KEY=VALUE; the keys of this table's cells are {', '.join(keys)}")
        wanted.setdefault(key, set()).add(value)
    chosen = [cell for cell in cells if all(str(cell.get(key)) in values for key, values in wanted.items())]
    if not chosen:
        known = "; ".join(
            f"{key}: {', '.join(dict.fromkeys(str(c[key]) for c in cells if key in c))}" for key in wanted
        )
        raise ConfigError(f"--only {' '.join(only)}: no cell is so; there are {known}")
    return chosen


def _machine() -> dict[str, Any]:
    from device_bench.devices.host import host_info

    return {**host_info().model_dump(mode="json"), "cpu_count": os.cpu_count()}
