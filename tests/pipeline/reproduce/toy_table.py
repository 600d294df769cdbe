"""A table whose cells take no time: what it finds depends on the cell alone.

Run as a program, `python -m tests.pipeline.reproduce.toy_table OUT WORK [N]`, it runs the table; with N it kills itself
(SIGKILL, as the system would) inside the N-th cell that it runs, when half a line of results has been written.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline import reproduce
from pipeline.errors import TrainingError
from pipeline.progress import Silent
from pipeline.reproduce.context import Context
from pipeline.reproduce.runner import Request, run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, Column, Results, Table, percent
from pipeline.section import Section

NAME = "toy"


class Settings(Section):
    bonus: float = 0.0


def cells(settings: Settings, seeds: int) -> Sequence[Cell]:
    return [{"row": row, "seed": seed} for row in ("plain", "better") for seed in range(seeds)]


def accuracy(cell: Cell, bonus: float = 0.0) -> float:
    return 0.5 + 0.1 * int(cell["seed"]) + (0.2 if cell["row"] == "better" else 0.0) + bonus


def run(cell: Cell, context: Context[Settings]) -> Results:
    if cell == {"row": "better", "seed": 1}:
        return {"top1": None, "params": 1000, "missing": {"top1": "lost on the way"}}
    return {"top1": accuracy(cell, context.settings.bonus), "params": 1000}


def table(work: Callable[[Cell, Context[Settings]], Results] = run, **changes: Any) -> Table[Settings]:
    values: dict[str, Any] = {
        "title": "A toy",
        "source": "Nobody 2026, Table 1",
        "scales": {scale: Settings() for scale in Scale},
        "cells": cells,
        "run": work,
        "columns": (percent("top1", "top-1"), Column("params", "parameters", 0)),
        "paper": {"plain": {"top1": (0.55, 0.02), "params": 1200}, "theirs alone": {"top1": 0.6}},
        "notes": ("toys are toys",),
    }
    return Table(**{**values, **changes})


def diverges(cell: Cell, context: Context[Settings]) -> Results:
    if cell["seed"] == 1:
        raise TrainingError("the loss is nan")
    return run(cell, context)


class Recorder(Silent):
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def stage(self, name: str, state: str) -> None:
        self.lines.append((name, state))


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Callable[[Table[Settings]], None]:
    """Make a table the one that is called `toy`."""
    return lambda it: monkeypatch.setattr(reproduce, "find", lambda name: it)


def main(out: Path, work: Path, kill_at: int | None) -> None:
    count = 0

    def counted(cell: Cell, context: Context[Settings]) -> Results:
        nonlocal count
        count += 1
        if count == kill_at:
            with (out / f"{NAME}-small.jsonl").open("a") as file:
                file.write('{"table": "toy", "scale"')
            os.kill(os.getpid(), signal.SIGKILL)
        return run(cell, context)

    reproduce.find = lambda name: table(counted)
    run_table(Request(NAME, out=out, work=work))
    print(count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
