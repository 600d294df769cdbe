"""A table is run once, whatever stops it, by as many processes as one likes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import reproduce
from pipeline.errors import ConfigError, DataError
from pipeline.reproduce.context import make_folder
from pipeline.reproduce.runner import ELSEWHERE, Request, choose, run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.store import Store, locked_if_free
from pipeline.reproduce.summary import NOT_RUN
from pipeline.reproduce.table import Cell, Results, Table
from tests.pipeline.reproduce import toy_table
from tests.pipeline.reproduce.toy_table import NAME, Recorder, Settings, cells, place, table

__all__ = ["place"]

Place = Callable[[Table[Settings]], None]
ROOT = Path(__file__).parents[3]


def request_in(folder: Path, **changes: Any) -> Request:
    return Request(NAME, out=folder / "out", work=folder / "work", **changes)


def stored(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "toy-small.jsonl").read_text().splitlines()]


def counting() -> tuple[Table[Settings], list[Cell]]:
    ran: list[Cell] = []

    def work(cell: Cell, context: Any) -> Results:
        ran.append(cell)
        return toy_table.run(cell, context)

    return table(work), ran


def test_every_cell_is_stored_with_what_it_was_made_of(tmp_path: Path, place: Place) -> None:
    place(table())
    run_table(request_in(tmp_path, seeds=2))
    lines = stored(tmp_path)
    assert [line["cell"] for line in lines] == [dict(cell) for cell in cells(Settings(), 2)]
    assert lines[0]["results"] == {"top1": 0.5, "params": 1000}
    assert lines[0]["versions"]["torch"] and lines[0]["machine"]["model"] and lines[0]["started_at"]


def test_finished_cells_are_not_run_again_and_more_seeds_add_only_theirs(tmp_path: Path, place: Place) -> None:
    it, ran = counting()
    place(it)
    run_table(request_in(tmp_path, seeds=1))
    run_table(request_in(tmp_path, seeds=1))
    assert len(ran) == 2
    run_table(request_in(tmp_path, seeds=3))
    assert len(ran) == 6


def test_cells_whose_settings_changed_are_run_again_and_it_says_so(tmp_path: Path, place: Place) -> None:
    place(table())
    run_table(request_in(tmp_path, seeds=1))
    place(table(scales={scale: Settings(bonus=0.1) for scale in Scale}))
    shown = Recorder()
    before, _ = run_table(request_in(tmp_path, seeds=1, table_only=True))
    assert before.outdated == 2 and not before.finished
    after, _ = run_table(request_in(tmp_path, seeds=1), shown)
    assert ("row=plain seed=0", "stored with other settings: it is run again") in shown.lines
    assert [line.results["top1"] for line in after.finished] == pytest.approx([0.6, 0.8])


def test_a_part_can_be_run(tmp_path: Path, place: Place) -> None:
    place(table())
    summary, _ = run_table(request_in(tmp_path, only=("row=better", "seed=0", "seed=2")))
    assert [line.cell for line in summary.finished] == [{"row": "better", "seed": 0}, {"row": "better", "seed": 2}]
    assert summary.rows[0].missing == {"top1": NOT_RUN, "params": NOT_RUN}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("seed", "write KEY=VALUE; the keys of this table's cells are row, seed"),
        ("colour=red", "write KEY=VALUE; the keys of this table's cells are row, seed"),
        ("seed=9", "no cell is so; there are seed: 0, 1"),
    ],
)
def test_a_choice_that_is_none_is_explained(pair: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(cells(Settings(), 2), [pair])


def test_a_cell_that_fails_leaves_the_others_alone(tmp_path: Path, place: Place) -> None:
    place(table(toy_table.diverges))
    summary, failures = run_table(request_in(tmp_path, seeds=2))
    assert failures == {f"row={row} seed=1": "the loss is nan" for row in ("plain", "better")}
    assert [line.cell["seed"] for line in summary.finished] == [0, 0]


def test_what_is_wrong_for_every_cell_ends_the_command(tmp_path: Path, place: Place) -> None:
    def no_data(cell: Cell, context: Any) -> Results:
        raise DataError("data.root: there is no such folder")

    place(table(no_data))
    with pytest.raises(DataError, match="no such folder"):
        run_table(request_in(tmp_path))


def test_a_cell_that_another_process_is_at_is_left_to_it(tmp_path: Path, place: Place) -> None:
    place(table())

    def work(cell: Cell, context: Any) -> Results:
        if cell == {"row": "plain", "seed": 0}:
            shown = Recorder()
            summary, _ = run_table(request_in(tmp_path, seeds=2), shown)  # as a second process would
            assert shown.lines[0] == ("row=plain seed=0", ELSEWHERE)
            assert len(summary.finished) == 3
        return toy_table.run(cell, context)

    place(table(work))
    summary, _ = run_table(request_in(tmp_path, seeds=2))
    assert len(summary.finished) == 4 == len(stored(tmp_path))


def test_a_lock_is_free_again_when_its_owner_is_gone(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "cell")
    with locked_if_free(folder) as first, locked_if_free(folder) as second:
        assert first and not second
    with locked_if_free(folder) as third:
        assert third


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.pipeline.reproduce.toy_table",
        str(tmp_path / "out"),
        str(tmp_path / "work"),
    ]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_killed_in_the_middle_of_a_line_it_goes_on_and_two_processes_share_the_rest(tmp_path: Path) -> None:
    killed = start(tmp_path, "3")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out" / "toy-small.jsonl").read_text().count("\n") == 2
    both = [start(tmp_path), start(tmp_path)]
    counts = [int(process.communicate(timeout=60)[0]) for process in both]
    assert sum(counts) == 4, "each of the cells that were left was run once"
    assert len(stored(tmp_path)) == len(Store(tmp_path / "out" / "toy-small.jsonl").finished()) == 6


def test_an_unknown_table_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'table9': there is no such table; known: .*l1-mobilenet"):
        reproduce.find("table9")
