"""The explainable poster's table: what its findings say either way, and a smoke run of both parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import reproduce
from pipeline.reproduce import naive_removal, policies
from pipeline.reproduce.policies import LINEAR, MLP, OPTIONS, PLAIN, WINDOW
from pipeline.reproduce.runner import Request, run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import FinishedCell
from tests.pipeline.reproduce.test_purl_tables import finished

FLAT = [0.2] * 40
RISING = [0.2] * 10 + [0.6] * 30
LATE = [0.2] * 30 + [0.6] * 10


def policy(name: str, rewards: list[float], stability: float | None = None, seed: int = 0) -> FinishedCell:
    return finished(
        {"part": "policy", "policy": name, "seed": seed},
        rewards=[*rewards, rewards[-1]],
        mean_reward=sum(rewards) / len(rewards),
        greedy_reward=rewards[-1],
        stability=stability,
        features=None if stability is None else 9 * stability,
        importances=[],
    )


def test_the_poster_gives_one_number() -> None:
    assert reproduce.find("explainable").paper == {"policy linear, L1, half of the MACs": {"macs": 0.5, "top1": 0.734}}


def test_which_policy_is_faster_and_higher_follows_the_rewards() -> None:
    (told,) = policies.findings([policy(LINEAR, RISING), policy(MLP, LATE)])
    assert "reaches 0.600, the most that both reach, after 20 against 40 episodes: the linear one is faster" in told
    assert "Mean reward of all episodes 0.500 against 0.300; of the greedy one 0.600 against 0.600: not higher" in told
    (told,) = policies.findings([policy(LINEAR, FLAT), policy(MLP, RISING)])
    assert "reaches 0.200, the most that both reach, after 1 against 1 episodes: the linear one is not faster" in told
    (told,) = policies.findings([policy(LINEAR, RISING), policy(MLP, FLAT)])
    assert "0.600 against 0.200: higher, as in the poster" in told


def test_a_running_mean_is_over_the_last_episodes_and_over_seeds() -> None:
    cells = [policy(MLP, RISING), policy(MLP, [value - 0.1 for value in RISING], seed=1)]
    curve = policies.mean_rewards(MLP, cells)
    assert len(curve) == len(RISING)
    assert curve[0] == pytest.approx(0.15) and curve[10 + WINDOW - 1] == pytest.approx(0.55)
    assert curve[10] == pytest.approx((9 * 0.15 + 0.55) / 10)


def test_l1_is_said_to_stabilise_importance_only_if_it_does() -> None:
    (better,) = policies.findings([policy(LINEAR, FLAT, 0.9), policy(PLAIN, FLAT, 0.5)])
    assert "0.90 with L1, 0.50 without: with L1 it is more stable, as in the poster; 8.1 features against 4.5" in better
    (worse,) = policies.findings([policy(LINEAR, FLAT, 0.5), policy(PLAIN, FLAT, 0.9)])
    assert "with L1 it is not more stable, which the poster has otherwise" in worse


def removal(raw: list[float], recovered: list[float]) -> FinishedCell:
    points: list[dict[str, Any]] = [
        {"share": 0.1 * number, "speedup": 1.0 + number, "raw_top1": low, "top1": high}
        for number, (low, high) in enumerate(zip(raw, recovered, strict=True), start=1)
    ]
    cell = {"part": "removal", "importance": "l1", "seed": 0}
    return finished(cell, dense_top1=0.8, chance=0.1, points=points)


def test_a_collapse_is_told_where_it_begins_and_so_is_that_there_is_none() -> None:
    (told,) = naive_removal.findings([removal([0.7, 0.3, 0.1], [0.8, 0.6, 0.2])])
    assert "falls from 80.0% to 30.0% when 20% of each layer's channels go (3.0x in theory)" in told
    assert "an epoch brings back 60.0%, 20.0 points less" in told
    (none,) = naive_removal.findings([removal([0.8, 0.8, 0.7], [0.8, 0.8, 0.8])])
    assert "up to 30% of the channels removed, more than half of the dense 80.0% is left" in none
    (back,) = naive_removal.findings([removal([0.2], [0.795])])
    assert "an epoch brings back 79.5%, less than a point below" in back


@pytest.mark.slow
def test_smoke_scale_runs_and_is_rendered(tmp_path: Path) -> None:
    only = ("seed=0",)
    request = Request("explainable", Scale.smoke, seeds=1, only=only, out=tmp_path / "out", work=tmp_path / "work")
    summary, failures = run_table(request)
    assert not failures
    found = {str(line.cell.get("policy", line.cell.get("importance"))): line.results for line in summary.finished}
    for name in OPTIONS:
        assert found[name]["macs"] <= 0.5 and len(found[name]["rewards"]) == 9
    assert found[MLP]["stability"] is None and len(found[LINEAR]["importances"]) == 7
    speedups = [point["speedup"] for point in found["l1"]["points"]]
    assert 1.0 < speedups[0] < speedups[1] and speedups == [p["speedup"] for p in found["random"]["points"]]
    dash = next(row for row in summary.rows if row.label == "policy MLP, half of the MACs")
    assert dash.missing["stability"] == "a deep actor has no weights by feature"
    drawn = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert drawn == {f"explainable-smoke-{name}" for name in ("removal", "learning", "importance")}
