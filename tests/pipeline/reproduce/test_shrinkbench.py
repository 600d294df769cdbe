"""The contest is fair, says what its figures say either way, and runs: every method, every part, at the smoke scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.errors import SearchError
from pipeline.progress import Silent
from pipeline.reproduce import contest, contest_weights
from pipeline.reproduce.contest import Contest, contestant
from pipeline.reproduce.contest_scales import SCALES
from pipeline.reproduce.contest_weights import weight_contestant
from pipeline.reproduce.context import Context
from pipeline.reproduce.curves import accuracy_curves, compression_curves
from pipeline.reproduce.runner import Request, run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.summary import Summary
from pipeline.reproduce.table import Cell, FinishedCell
from pipeline.reproduce.tables.shrinkbench import TABLE, cells, depends
from pipeline.reproduce.verdicts import OURS, findings
from pipeline.search import agents

SMOKE = SCALES[Scale.smoke]
LEARNING = ("dqn", "amc", "explainable", "tradeoff")
PAIR = "net, data"


def learning(settings: Contest) -> dict[str, int]:
    """By method, how many plans the agent will have evaluated."""
    changes = {**settings.methods, **{name: one.changes for name, one in settings.weight_methods.items()}}
    searches = {name: change["search"] for name, change in changes.items() if "search" in change}
    return {name: search["episodes"] + 1 for name, search in searches.items() if search["agent"] in LEARNING}


# What a method is given.


@pytest.mark.parametrize("scale", list(Scale))
def test_every_method_that_learns_may_have_the_same_number_of_plans_evaluated(scale: Scale) -> None:
    budgets = learning(SCALES[scale])
    assert len(budgets) == 5 and len(set(budgets.values())) == 1
    others = [change for name, change in SCALES[scale].methods.items() if name not in budgets]
    assert all(change.get("search", {}).get("episodes", 0) <= max(budgets.values()) for change in others)


@pytest.mark.parametrize("scale", list(Scale))
def test_a_contestant_differs_from_its_pair_in_what_its_method_says_and_in_nothing_else(scale: Scale) -> None:
    for pair in SCALES[scale].pairs:
        plain = contestant(pair, {}, 4.0, seed=1)
        assert (plain.search.target.latency, plain.search.latency_source, plain.seed) == (0.25, "table", 1)
        for changes in SCALES[scale].methods.values():
            changed = contestant(pair, changes, 4.0, seed=1)
            agents.check_options(changed.search)
            assert differing(plain, changed) <= {(section, key) for section in changes for key in changes[section]}
        for method in SCALES[scale].weight_methods.values():
            sparse = weight_contestant(pair, method, 0.8, seed=1)
            agents.check_options(sparse.search)
            assert sparse.search.target.sparsity == 0.8
            said = {(section, key) for section in method.changes for key in method.changes[section]}
            of_weights = {("pruning", "kind"), ("search", "target"), ("search", "latency_source")}
            assert differing(plain, sparse) <= said | of_weights


def differing(first: Config, second: Config) -> set[tuple[str, str]]:
    one, other = first.model_dump(), second.model_dump()
    sections = [name for name in one if isinstance(one[name], dict)]
    assert all(one[name] == other[name] for name in one if name not in sections)
    return {(name, key) for name in sections for key in one[name] if one[name][key] != other[name][key]}


# When a cell is run again.


def changed(**changes: Any) -> Contest:
    return SMOKE.model_copy(update=changes)


def parts_that_depend_on(other: Contest) -> set[tuple[str, str]]:
    """Part and method of the cells of both contests whose results depend on the change."""
    first, second = cells(SMOKE, 1), cells(other, 1)
    return {
        (str(cell["part"]), str(cell.get("method", "")))
        for cell in first
        if cell in second and depends(cell, SMOKE) != depends(cell, other)
    }


def test_another_method_is_run_and_measured_and_leaves_what_is_there() -> None:
    another = changed(methods={**SMOKE.methods, "another": {}})
    assert parts_that_depend_on(another) == {("latency", "")}
    sparser = SMOKE.weight_methods["weights, uniform"].model_copy(update={"sparsities": (0.8, 0.9)})
    weights = changed(weight_methods={**SMOKE.weight_methods, "weights, uniform": sparser})
    assert parts_that_depend_on(weights) == {("sparse latency", "")}


def test_a_method_that_changes_is_run_again_alone_and_a_pair_that_changes_whole() -> None:
    methods = {**SMOKE.methods, "AMC": {"search": {"agent": "amc", "episodes": 7}}}
    assert parts_that_depend_on(changed(methods=methods)) == {("accuracy", "AMC")}
    (pair,) = SMOKE.pairs
    longer = pair.model_copy(update={"config": {**pair.config, "finetune": {"epochs": 9}}})
    everything = {(str(cell["part"]), str(cell.get("method", ""))) for cell in cells(SMOKE, 1)}
    assert parts_that_depend_on(changed(pairs=(longer,))) == everything
    assert parts_that_depend_on(changed(pairs=(pair.model_copy(update={"seeds": 1}),))) == set()


@pytest.mark.parametrize(
    ("cell", "lacking"),
    [
        ({"part": "latency", "speedup": 1.5}, "uniform, random plan, global L1"),
        ({"part": "sparse latency"}, "weights, uniform at 80% zeros; weights, PuRL at 80% zeros"),
    ],
)
def test_a_sitting_refuses_while_a_search_is_missing_and_says_which(cell: Cell, lacking: str, tmp_path: Path) -> None:
    context = Context(SMOKE, tmp_path, Silent(), tmp_path, finished=lambda other: None)
    with pytest.raises(SearchError, match=f"{lacking}.*: not searched yet, and all"):
        TABLE.run({**cell, "pair": SMOKE.pairs[0].name, "seed": 0}, context)


# What the figures say.


def finished(part: str, results: Mapping[str, Any], pair: str = PAIR, **cell: Any) -> FinishedCell:
    return FinishedCell(
        table="shrinkbench",
        scale=Scale.smoke,
        cell={"part": part, "pair": pair, **cell},
        settings_sha256="0",
        results=dict(results),
        seconds=1.0,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        git_commit=None,
        versions={},
        machine={},
    )


def found(method: str, point: float, *top1: float) -> list[FinishedCell]:
    """One cell for each seed."""
    results = [{"top1": value, "compression": point} for value in top1]
    return [
        finished("accuracy", result, seed=seed, method=method, speedup=point) for seed, result in enumerate(results)
    ]


def test_ahead_is_told_as_nowhere_behind_with_the_mean() -> None:
    ours = [*found(OURS, 2.0, 0.80, 0.82), *found(OURS, 4.0, 0.70, 0.72)]
    (told,) = findings([*ours, *found("AMC", 2.0, 0.79, 0.81), *found("AMC", 4.0, 0.65, 0.67)])
    expected = "ours against AMC, points of top-1: +1.0 at 2x, +5.0 at 4x; mean +3.00; nowhere behind by more than a"
    assert told.startswith(f"{PAIR}: {expected} standard deviation")


def test_behind_is_told_where_it_is_more_than_the_larger_standard_deviation() -> None:
    ours = [*found(OURS, 2.0, 0.80, 0.80), *found(OURS, 4.0, 0.60, 0.60)]
    (told,) = findings([*ours, *found("AMC", 2.0, 0.79, 0.83), *found("AMC", 4.0, 0.65, 0.67)])
    assert "-1.0 at 2x, -6.0 at 4x; mean -3.50; behind by more than a standard deviation at 4x." in told


def test_a_tie_is_nowhere_behind() -> None:
    (told,) = findings([*found(OURS, 2.0, 0.8, 0.8), *found("AMC", 2.0, 0.8, 0.8)])
    assert "+0.0 at 2x; mean +0.00; nowhere behind" in told


def test_of_one_seed_any_difference_counts_and_it_is_said() -> None:
    (told,) = findings([*found(OURS, 2.0, 0.79), *found("AMC", 2.0, 0.80)])
    assert told.endswith("-1.0 at 2x; mean -1.00; behind at 2x (one seed).")


def test_points_with_other_numbers_of_seeds_are_not_compared() -> None:
    both = [*found(OURS, 2.0, 0.8, 0.8), *found("AMC", 2.0, 0.7, 0.7)]
    missing = [*both, *found(OURS, 4.0, 0.7, 0.7), *found("AMC", 4.0, 0.9)]
    (told,) = findings(missing)
    assert "+10.0 at 2x; mean +10.00" in told and "4x" not in told
    assert findings([*found(OURS, 4.0, 0.7, 0.7), *found("AMC", 4.0, 0.9)]) == ()
    assert findings(found("AMC", 4.0, 0.9)) == () and findings(found("dense", 1.0, 0.9)) == ()


def sitting(kernels: int | None, size: int = 250) -> FinishedCell:
    one = {"ratio": 0.8, "ci95": (0.7, 0.9), "bytes": size, "stored_sparse": 3, "sparse_kernels": kernels}
    files = {"weights, uniform at 80% zeros": one}
    return finished("sparse latency", {"files": files, "dense_bytes": 1000, "device": "laptop (x86_64)"}, seed=0)


def test_what_sparse_files_save_is_told_with_the_device_and_whether_it_used_the_zeros() -> None:
    (told,) = findings([sitting(0), sitting(0, size=500)])
    assert "on laptop (x86_64): weights, uniform at 80% zeros 3.00x smaller, 1.25x as fast. The runtime unp" in told
    assert findings([sitting(34)])[0].endswith("34 to 34 operations of each ran on sparse kernels.")
    assert findings([sitting(None)])[0].endswith("the profile does not tell.")


def test_curves_are_drawn_before_anything_is_measured_and_move_when_it_is() -> None:
    lines = [*found("AMC", 2.0, 0.8, 0.7), *found("AMC", 4.0, 0.6, 0.5), *found("dense", 1.0, 0.9)]
    (axes,) = accuracy_curves(PAIR, lines).axes
    assert "not measured yet" in axes.get_xlabel()
    assert [line.get_xdata().tolist() for line in axes.containers[0].lines[:1]] == [[2.0, 4.0]]
    measured = finished("latency", {"ratios": {"AMC": {"ratio": 0.4}}}, seed=0, speedup=2.0)
    (axes,) = accuracy_curves(PAIR, [*lines, measured]).axes
    assert axes.get_xlabel() == "Measured speed-up, dense / pruned"
    assert axes.containers[0].lines[0].get_xdata().tolist() == [2.5, 4.0]


def test_the_curve_of_compression_has_the_weight_methods_beside_the_channel_methods() -> None:
    sparse = finished("weights", {"top1": 0.7, "compression": 4.5}, seed=0, method="weights, PuRL", sparsity=0.8)
    (axes,) = compression_curves(PAIR, [*found("AMC", 2.0, 0.8), sparse]).axes
    drawn = {container.get_label(): container.lines[0] for container in axes.containers}
    assert drawn["weights, PuRL"].get_xdata().tolist() == [4.5] and drawn["weights, PuRL"].get_linestyle() == "--"
    assert drawn["AMC"].get_linestyle() == "-"


# The whole, at the smoke scale.


class Sealed:
    """Stands for the test split while a plan is searched."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a search asked the test split for its {name}")

    def __len__(self) -> int:
        raise AssertionError("a search asked the test split for its length")


def without_test_images(search: Callable[..., Any]) -> Callable[..., Any]:
    def searched(subject: Any, *arguments: Any, **options: Any) -> Any:
        whole = subject.data
        subject.data = dataclasses.replace(whole, test=Sealed())
        try:
            return search(subject, *arguments, **options)
        finally:
            subject.data = whole

    return searched


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Summary, Path]]:
    folder = tmp_path_factory.mktemp("shrinkbench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest, "search", without_test_images(contest.search))
        patch.setattr(contest_weights, "search_weights", without_test_images(contest_weights.search_weights))
        request = Request("shrinkbench", Scale.smoke, seeds=1, out=folder / "out", work=folder / "work")
        summary, failures = run_table(request)
    assert not failures
    yield summary, folder / "out"


@pytest.mark.slow
def test_no_method_had_more_plans_evaluated_than_the_others(smoke: tuple[Summary, Path]) -> None:
    budgets = learning(SMOKE)
    evaluated = {
        line.cell["method"]: line.results.get("evaluations") for line in smoke[0].finished if "method" in line.cell
    }
    assert all(0 < evaluated[name] <= budget for name, budget in budgets.items())
    rest = {name: count for name, count in evaluated.items() if name not in budgets}
    assert all(count is None or count <= max(budgets.values()) for count in rest.values())
    assert rest["uniform"] == 0 == rest["weights, uniform"]


@pytest.mark.slow
def test_all_channel_methods_meet_the_operating_point_by_the_table(smoke: tuple[Summary, Path]) -> None:
    lines = [line for line in smoke[0].finished if line.cell["part"] == "accuracy" and line.cell["method"] != "dense"]
    assert {line.cell["method"] for line in lines} == set(SMOKE.methods)
    for line in lines:
        assert line.results["predicted_speedup"] >= 1.5, line.cell
        assert line.results["compression"] > 1.0 and line.results["theoretical_speedup"] > 1.0


@pytest.mark.slow
def test_zeros_make_files_smaller_and_rows_have_what_was_measured(smoke: tuple[Summary, Path]) -> None:
    figures = {row.label: row.figures for row in smoke[0].rows}
    name = SMOKE.pairs[0].name
    uniform = figures[f"{name}: weights, uniform at 80% zeros"]
    means = {key: figure.mean for key, figure in uniform.items() if figure}
    assert means["file_ratio"] > 2.0 and means["speedup"] > 0.0 and means["top1"] > 0.0
    assert 3.0 < means["compression"] < 5.0, "batch norm and biases stay"
    assert means["theoretical_speedup"] > 3.0
    assert all(row.done == row.cells and not row.missing for row in smoke[0].rows)
    ours = figures[f"{name}: {OURS} at 1.5x"]
    assert ours["speedup"] and ours["file_ratio"] is None


@pytest.mark.slow
def test_the_table_is_written_with_its_findings_and_both_pictures(smoke: tuple[Summary, Path]) -> None:
    summary, out = smoke
    assert sum(f"{OURS} against" in finding for finding in summary.findings) == len(SMOKE.methods) - 1
    assert "files that store no zeros" in summary.findings[-1]
    stem = "shrinkbench-smoke-mobilenet_v1-digits-32"
    assert sorted(path.name for path in out.glob("*.png")) == [f"{stem}-compression.png", f"{stem}.png"]
