"""What is shown of a table: means and spreads, the paper's figures, and a reason for each figure that is not there."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reproduce.context import Context
from pipeline.reproduce.render import NAMED, markdown, print_summary, reasons
from pipeline.reproduce.runner import run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.summary import Summary, summarise
from pipeline.reproduce.table import Cell, FinishedCell, Results, Table, by_keys
from tests.pipeline.reproduce.test_runner import request_in
from tests.pipeline.reproduce.toy_table import Settings, place, table

__all__ = ["place"]

Place = Callable[[Table[Settings]], None]


def finished(tmp_path: Path, **changes: Any) -> Summary:
    return run_table(request_in(tmp_path, **changes))[0]


def test_means_and_deviations_stand_over_the_papers_figures(tmp_path: Path, place: Place) -> None:
    place(table())
    lines = markdown(finished(tmp_path), []).splitlines()
    assert "| plain | ours (3) | 60.0 ± 10.0 | 1,000 |" in lines  # of 0.5, 0.6 and 0.7
    assert "|  | paper | 55.0 ± 2.0 | 1,200 |" in lines
    assert "| better | ours (3) | 80.0 ± 14.1 | 1,000 |" in lines  # of 0.7 and 0.9; the third is missing
    assert "- better, top-1, %: 1 of 3 cells: lost on the way" in lines
    assert "| theirs alone | paper | 60.0 |  |" in lines


def test_the_standard_error_is_the_deviation_over_the_root_of_n(tmp_path: Path, place: Place) -> None:
    place(table(spread="standard error"))
    figure = finished(tmp_path).rows[0].figures["top1"]
    assert figure and figure.spread == pytest.approx(0.1 / 3**0.5)


def test_a_cell_that_was_not_run_is_a_dash_with_its_reason(tmp_path: Path, place: Place) -> None:
    place(table())
    lines = markdown(finished(tmp_path, only=("row=plain", "seed=0")), []).splitlines()
    assert "| plain | ours (1 of 3) | 50.0 | 1,000 |" in lines
    assert "| better | ours (0 of 3) | - | - |" in lines
    assert "- better: not run yet" in lines


def test_table_only_runs_nothing(tmp_path: Path, place: Place) -> None:
    place(table())
    assert finished(tmp_path, table_only=True).finished == ()
    assert (tmp_path / "out" / "toy-small.md").exists() and not (tmp_path / "out" / "toy-small.jsonl").exists()


def test_json_holds_what_is_shown(tmp_path: Path, place: Place) -> None:
    place(table())
    finished(tmp_path)
    stored = json.loads((tmp_path / "out" / "toy-small.json").read_text())
    assert stored["rows"][0]["figures"]["top1"] == {"mean": pytest.approx(0.6), "spread": pytest.approx(0.1), "n": 3}
    assert stored["rows"][0]["paper"]["top1"] == {"value": 0.55, "spread": 0.02}
    assert stored["rows"][1]["missing"] == {"top1": "1 of 3 cells: lost on the way"}
    assert stored["cells"] == stored["cells_done"] == 6


def test_a_cell_may_fill_several_rows_and_rows_may_have_several_keys(tmp_path: Path, place: Place) -> None:
    place(table(rows=by_keys("row", "seed")))
    assert [row.label for row in finished(tmp_path, seeds=1).rows][:2] == ["plain, 0", "better, 0"]
    place(table(rows=lambda cell, results: {"dense": {"top1": 0.9}, str(cell["row"]): results or {}}))
    rows = finished(tmp_path / "two", seeds=1).rows
    assert [row.label for row in rows][:3] == ["dense", "plain", "better"]
    assert rows[0].cells == 2 and rows[0].figures["params"] is None  # it is no column of this row


def test_a_row_may_have_its_columns_from_different_cells(tmp_path: Path, place: Place) -> None:
    """The second cell of each row waits for what the first one found."""

    def cells(settings: Settings, seeds: int) -> list[Cell]:
        return [{"part": part, "seed": seed} for part in ("accuracy", "size") for seed in range(seeds)]

    def run(cell: Cell, context: Context[Settings]) -> Results:
        first = context.finished({"part": "accuracy", "seed": cell["seed"]})
        if cell["part"] == "accuracy":
            return {"top1": 0.5}
        return {"params": None if first is None else 200 * first["top1"]}

    def rows(cell: Cell, results: Results | None) -> dict[str, Results]:
        return {"both": results or {"top1" if cell["part"] == "accuracy" else "params": None}}

    place(table(run, cells=cells, rows=rows))
    half = markdown(finished(tmp_path, only=("part=accuracy",)), []).splitlines()
    assert "| both | ours (3 of 6) | 50.0 | - |" in half and "- both, parameters: not run yet" in half
    whole = markdown(finished(tmp_path), []).splitlines()
    assert "| both | ours (6) | 50.0 | 100 |" in whole and not any(line.startswith("- both") for line in whole)


def test_the_terminals_table_is_80_columns_wide(
    tmp_path: Path, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    place(table())
    print_summary(finished(tmp_path))
    shown = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in shown) <= 80
    assert any(line.startswith("plain") and "60.0 ± 10.0" in line for line in shown)


def test_what_labels_have_before_a_colon_stands_once_above_their_lines(
    tmp_path: Path, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = [
        {"row": f"{network}: {row}", "seed": 0} for network in ("one net", "other") for row in ("plain", "fast")
    ]
    results = {"top1": 0.5, "params": 1}
    place(table(lambda cell, context: results, cells=lambda settings, seeds: networks, paper={}))
    print_summary(finished(tmp_path))
    shown = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith(("one", "oth", "pl", "f"))
    ]
    assert shown == ["one", "plain", "fast", "other", "plain", "fast"]


def test_many_rows_that_lack_the_same_are_one_line(tmp_path: Path, place: Place) -> None:
    many = [{"row": f"row {number}", "seed": 0} for number in range(NAMED + 2)]
    place(table(lambda cell, context: {"top1": 0.5, "params": 1}, cells=lambda settings, seeds: many, paper={}))
    summary = finished(tmp_path, only=("row=row 0",))
    assert reasons(summary) == [f"{NAMED + 1} rows: not run yet"]
    summary = finished(tmp_path, only=("row=row 1",))
    assert reasons(summary) == [f"row {number}: not run yet" for number in range(2, NAMED + 2)]


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_a_row_is_the_mean_of_its_cells(values: list[float]) -> None:
    it = table()
    cells = [{"row": "plain", "seed": seed} for seed in range(len(values))]
    lines = [_line(cell, value) for cell, value in zip(cells, values, strict=True)]
    summary = summarise("toy", it, Scale.small, cells, lines, [""] * len(values), 0)
    figure = summary.rows[0].figures["top1"]
    assert figure and figure.mean == pytest.approx(statistics.fmean(values)) and figure.n == len(values)
    assert (figure.spread or 0.0) == pytest.approx(statistics.stdev(values), abs=1e-12)


def _line(cell: dict[str, str | int], top1: float) -> FinishedCell:
    return FinishedCell(
        table="toy",
        scale=Scale.small,
        cell=dict(cell),
        settings_sha256="",
        results={"top1": top1, "params": 1},
        seconds=1.0,
        started_at=datetime.now(UTC),
        git_commit=None,
        versions={},
        machine={},
    )
