"""PuRL's tables: its figures, its designs, what the findings say either way, and a smoke run of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import reproduce
from pipeline.reproduce import purl_against_uniform as uniform
from pipeline.reproduce.purl import FINAL, GIVEN_UP, configuration
from pipeline.reproduce.purl_ablation import Claim, judge, learning
from pipeline.reproduce.runner import Request, run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.store import Store
from pipeline.reproduce.summary import Row, Summary
from pipeline.reproduce.table import FinishedCell
from pipeline.reproduce.tables import purl_table1, purl_table4, purl_table5

TABLES = [f"purl-table{number}" for number in range(1, 7)]
PAPER = {"up": {"top1": (0.9, 0.01), "sparsity": 0.7}, "down": {"top1": 0.6, "sparsity": (0.6, 0.1)}}
CLAIM = Claim("up", "down")


def finished(cell: Mapping[str, Any], **results: Any) -> FinishedCell:
    return FinishedCell(
        table="toy",
        scale=Scale.smoke,
        cell=dict(cell),
        settings_sha256="0",
        results=results,
        seconds=1.0,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        git_commit=None,
        versions={},
        machine={},
    )


def row(name: str, top1: float, sparsity: float, seed: int = 0) -> FinishedCell:
    return finished({"row": name, "seed": seed}, top1=top1, sparsity=sparsity)


def test_the_papers_figures_are_those_of_the_paper() -> None:
    one, two, three, four, five, six = (reproduce.find(name).paper for name in TABLES)
    assert one["sparse rewards (benchmark)"] == {"top1": (0.680, 0.139), "sparsity": (0.661, 0.127)}
    assert one["dense rewards (baseline)"] == {"top1": (0.918, 0.020), "sparsity": (0.701, 0.023)}
    assert one["baseline + state 2"] == {"top1": (0.789, 0.086), "sparsity": (0.722, 0.045)}
    assert two["higher dimensional state"] == {"top1": (0.510, 0.003), "sparsity": (0.820, 0.020)}
    assert (three["uniform"]["top1"], three["PuRL"]["top1"], three["PuRL"]["sparsity"]) == (0.7242, 0.8063, 0.939)
    assert four[purl_table4.THREE]["top1"] == 0.7526 and four[purl_table4.FOUR]["top1"] == 0.7537
    assert four["State of Sparsity"] == {"sparsity": 0.80, "dense_top1": 0.7669, "top1": 0.7652}
    assert five["PuRL"]["flops_reduction"] == 0.479 and "sparsity" not in five["AMC"]
    assert (six["uniform"]["top1"], six["PuRL"]["top1"]) == (0.689, 0.745)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("scale", list(Scale))
def test_a_scale_makes_valid_configurations_with_the_papers_search(name: str, scale: Scale) -> None:
    table = reproduce.find(name)
    settings = table.scales[scale]
    designs = purl_table1.DESIGNS.values() if name == "purl-table1" else [FINAL]
    for design in designs:
        config = configuration(settings, design, seed=1)
        assert config.search.recover.each_step
        assert (config.search.stop_below is None) == (name == "purl-table6")
    if scale is not Scale.smoke:
        assert (settings.episodes, settings.greedy_episodes) == (55, 5)
    if scale is Scale.paper:
        assert settings.retrain.images == 1_000


def test_each_row_of_the_ablation_differs_from_the_baseline_in_one_choice() -> None:
    baseline = purl_table1.DESIGNS[purl_table1.DENSE].model_dump()
    for name, design in purl_table1.DESIGNS.items():
        changed = [key for key, value in design.model_dump().items() if value != baseline[key]]
        assert len(changed) == (name != purl_table1.DENSE)
    assert FINAL.model_dump() == {**baseline, "state": "per_layer", "sigma_step": 0.2}


def test_findings_say_whether_the_figures_are_as_in_the_paper_or_the_other_way_round() -> None:
    (same,) = judge([CLAIM], PAPER, [row("up", 0.8, 0.7), row("down", 0.7, 0.5)])
    assert "+10.0 (one seed) of accuracy and +20.0 (one seed) of sparsity; the paper: +30.0 of accuracy" in same
    assert "As in the paper: accuracy and sparsity. By the means the first Pareto-dominates the second, as in" in same
    (reverse,) = judge([CLAIM], PAPER, [row("up", 0.7, 0.5), row("down", 0.8, 0.7)])
    assert (
        "The other way round: accuracy and sparsity. By the means the second Pareto-dominates the first; in" in reverse
    )
    (mixed,) = judge([CLAIM], PAPER, [row("up", 0.9, 0.5), row("down", 0.8, 0.7)])
    assert "As in the paper: accuracy; the other way round: sparsity. By the means neither dominates; in the" in mixed


def test_a_difference_within_its_standard_error_is_too_close_to_tell() -> None:
    cells = [row("up", 0.9, 0.8, 0), row("up", 0.5, 0.8, 1), row("down", 0.6, 0.6, 0), row("down", 0.7, 0.6, 1)]
    (told,) = judge([CLAIM], PAPER, cells)
    assert "+5.0 ± 20.6 of accuracy and +20.0 ± 0.0 of sparsity" in told
    assert "As in the paper: sparsity; too close to tell: accuracy." in told


def test_nothing_is_said_of_a_row_that_has_not_been_run_or_has_no_figure() -> None:
    assert judge([CLAIM], PAPER, [row("up", 0.8, 0.7)]) == []
    failed = finished({"row": "down", "seed": 0}, top1=None, sparsity=None)
    assert judge([CLAIM], PAPER, [row("up", 0.8, 0.7), failed]) == []


@given(st.lists(st.integers(-50, -1), min_size=20, max_size=40), st.integers(0, 5))
def test_learning_compares_the_first_and_last_exploring_episodes_that_got_to_the_end(
    rewards: list[int], given_up: int
) -> None:
    exploring: list[int | None] = [*rewards[:12], *[None] * given_up, *rewards[12:]]
    rewarded = {"rewards": [*exploring, 9, 9, 9], "explored": len(exploring)}
    (told,) = learning(["a"], [finished({"row": "a", "seed": 0}, **rewarded)])
    first, last = sum(rewards[:10]) / 10, sum(rewards[-10:]) / 10
    assert f"from {first:.3f} (first 10 episodes) to {last:.3f} (last 10 " in told


def against(ours: tuple[float, float], theirs: tuple[float, float], given_up: int = 0) -> str:
    purl = finished(
        {"row": uniform.PURL, "seed": 0}, top1=ours[0], sparsity=ours[1], given_up=given_up, rewards=[0.0] * 61
    )
    (told,) = uniform.findings([purl, row(uniform.UNIFORM, *theirs)])
    return told


def test_findings_on_uniform_pruning_tell_a_defeat() -> None:
    assert "PuRL is better in both, as in the paper" in against((0.80, 0.94), (0.72, 0.935))
    assert "PuRL is worse in both, where in the paper it is better" in against((0.70, 0.90), (0.72, 0.935))
    assert "neither is better in both" in against((0.80, 0.85), (0.72, 0.935))
    assert against((0.80, 0.94), (0.72, 0.935), given_up=7).endswith("7 of 61 episodes were given up.")


def test_findings_on_rounds_and_on_flops_follow_the_figures() -> None:
    one = {"sparsity": 0.8, "target": 0.8027, "pruned_top1": 0.3, "top1": 0.7}
    told = purl_table4.findings([finished({"seed": 0}, rounds=[one], dense_top1=0.75, top1=0.7, further_top1=0.69)])
    assert told[-1].startswith("Seed 0: 5.0 points of top-1 are lost") and told[-1].endswith("no longer rising.")
    gone = {"top1": None, "missing": {"top1": GIVEN_UP}}
    ended = purl_table4.findings([finished({"seed": 0}, rounds=[one, gone], dense_top1=0.75, **gone)])
    assert len(ended) == 2 and ended[-1] == f"Seed 0, round 2: no plan, {GIVEN_UP}."
    flops = {"sparsity": 0.4, "flops_reduction": 0.3, "dense_top1": 0.7, "top1": 0.6}
    assert (
        "less of these than of weights (in the paper more), for 10.0"
        in purl_table5.findings([finished({"row": "PuRL", "seed": 0}, **flops)])[0]
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tables of the smoke scale prune one network, which the first one trains."""
    return tmp_path_factory.mktemp("work")


def smoke(name: str, out: Path, work: Path, *only: str) -> Summary:
    summary, failures = run_table(Request(name, Scale.smoke, seeds=1, only=only, out=out, work=work))
    assert not failures
    return summary


def ours(summary: Summary) -> Iterator[Row]:
    return (one for one in summary.rows if one.done)


class Killed(Exception):
    """Stands for the signal."""


@pytest.mark.slow
def test_table_1_runs_and_a_cell_that_was_killed_at_its_end_ends_the_same(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    dense_row, sparse_row = f"row={purl_table1.DENSE}", f"row={purl_table1.SPARSE}"
    monkeypatch.setattr(Store, "add", killed)
    with pytest.raises(Killed):
        smoke("purl-table1", tmp_path, work, dense_row)
    monkeypatch.undo()
    (told,) = (work / "purl-table1-smoke").rglob("round.json")
    before = json.loads(told.read_text())
    told.unlink()  # so that the search is played again from its log

    summary = smoke("purl-table1", tmp_path, work, dense_row, sparse_row)
    dense = next(line.results for line in summary.finished if line.cell["row"] == purl_table1.DENSE)
    del before["search_s"]  # the wall time of replaying
    assert {key: dense[key] for key in before} == before
    assert len(dense["rewards"]) == 1 + 2 + 1 and (dense["explored"], dense["given_up"]) == (1, 0)
    assert dense["evaluations"] == 28 * len(dense["rewards"]), "MobileNetV1: 28 layers, each judged"
    assert dense["sparsity"] == pytest.approx(dense["episode_sparsity"][-1])
    assert dense["reward"] == dense["rewards"][-1] and dense["top1"] == dense["pruned_top1"]
    assert "dense rewards (baseline) against sparse rewards (benchmark)" in summary.findings[0]
    assert (tmp_path / "purl-table1-smoke-accuracy.png").exists()


@pytest.mark.slow
def test_tables_3_and_6_compare_with_uniform_pruning_at_the_target_and_at_our_own_sparsity(
    tmp_path: Path, work: Path
) -> None:
    summary = smoke("purl-table6", tmp_path, work)
    found = {str(line.cell["row"]): line.results for line in summary.finished}
    assert found[uniform.UNIFORM]["sparsity"] == pytest.approx(0.59, abs=2e-3)
    if found[uniform.PURL]["sparsity"] is not None:
        assert found[uniform.UNIFORM_ALIKE]["sparsity"] == pytest.approx(found[uniform.PURL]["sparsity"], abs=2e-3)
        assert len(summary.findings) == 2
    assert {one.label for one in ours(summary)} == {uniform.PURL, uniform.UNIFORM, uniform.UNIFORM_ALIKE}


@pytest.mark.slow
def test_table_4_prunes_in_rounds_each_with_more_zeros_and_table_5_counts_multiply_accumulates(
    tmp_path: Path, work: Path
) -> None:
    summary = smoke("purl-table4", tmp_path, work)
    rounds = summary.finished[0].results["rounds"]
    assert [one["target"] for one in rounds] == [0.3655, 0.7573, 0.8027]
    sparsities = [one["sparsity"] for one in rounds]
    assert sparsities == sorted(sparsities), "what is zero stays zero"
    assert [one.label for one in ours(summary)] == [purl_table4.THREE, purl_table4.FOUR]
    (found,) = smoke("purl-table5", tmp_path, work).finished
    assert 0.0 < found.results["flops_reduction"] < 1.0
