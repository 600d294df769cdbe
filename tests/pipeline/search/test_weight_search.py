"""A search over weights: its rounds, its target, its end; killed anywhere it ends as if it had not been."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ModelError, SearchError
from pipeline.progress import Silent
from pipeline.pruning.weights import WeightLayer, sparsity, weight_layers, weights_left
from pipeline.search.finalists import Finalist
from pipeline.search.weight_pruner import WeightPruner
from pipeline.search.weight_rounds import uniform_kept
from pipeline.search.weight_search import WeightSearch, make_weight_task
from tests.pipeline.search.toy import evaluation
from tests.pipeline.search.toy_weights import LAYERS, toy_subject
from tests.pipeline.toy import state_equal

SIZE = sum(LAYERS.values())
GENTLE = {"max_sigma": 0.5, "sigma_step": 0.25}
"""At most 38% of normally distributed weights go in the first round."""
ROUNDS = {"rounds": [0.15], "target": {"sparsity": 0.5, "accuracy_drop": 0.05}, "options": {"greedy_episodes": 2}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toy_weights")


def search_in(work: Path, folder: Path, pruning: dict[str, Any] | None = None, **search: Any) -> WeightSearch:
    work.mkdir(exist_ok=True)
    return WeightSearch(toy_subject(folder, pruning, **search), work, Silent())


def log(work: Path) -> list[dict[str, Any]]:
    """Its episodes without how long they took."""
    lines = [json.loads(line) for line in (work / "episodes.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def searched(folder: Path) -> tuple[WeightSearch, torch.nn.Module, list[Finalist], Path]:
    """A search of two rounds."""
    work = folder / "searched"
    search = search_in(work, folder, GENTLE, **ROUNDS)
    return search, *search.run(), work


def test_a_round_starts_from_the_network_of_the_one_before(
    searched: tuple[WeightSearch, torch.nn.Module, list[Finalist], Path],
) -> None:
    search, start, finalists, work = searched
    first, last = search.rounds
    assert (first.target_sparsity, last.target_sparsity) == (0.15, 0.5)
    assert sparsity(start) == pytest.approx(first.sparsity) and first.sparsity < last.sparsity
    left = weights_left(start, search.layers)
    for episode in search.episodes:
        assert all(step.kept <= left[step.group] for step in episode.steps)
    # What the first step of a later round costs counts the zeros of the earlier one.
    step = search.episodes[0].steps[0]
    assert step.cost_ratio == pytest.approx((step.kept + left["3"] + left["8"]) / SIZE)
    assert finalists[0].cost_ratio == pytest.approx(sum(finalists[0].plan.values()) / SIZE)
    assert [len(log(at)) for at in (work / "round-1", work)] == [first.episodes, last.episodes] == [6, 6]


def test_its_episodes_are_the_reference_the_agents_the_greedy_ones_and_their_average(
    searched: tuple[WeightSearch, torch.nn.Module, list[Finalist], Path],
) -> None:
    episodes = searched[0].episodes
    assert [e.kind for e in episodes] == ["reference", "explore", "explore", "greedy", "greedy", "average"]
    reference = episodes[0].steps[-1]
    assert reference.meets_targets and reference.cost_ratio == pytest.approx(0.5, abs=3 / SIZE)


@pytest.mark.parametrize("kept", [1, 4, 7, 12])
def test_killed_in_any_round_it_ends_as_if_it_had_not_been(
    searched: tuple[WeightSearch, torch.nn.Module, list[Finalist], Path], folder: Path, tmp_path: Path, kept: int
) -> None:
    """`kept` of its twelve episodes were logged, the last one only by half."""
    _, start, finalists, whole = searched
    rounds = [(whole / "round-1", tmp_path / "round-1"), (whole, tmp_path)]
    for source, target in rounds:
        lines = (source / "episodes.jsonl").read_text().splitlines(keepends=True)
        target.mkdir(exist_ok=True)
        (target / "episodes.jsonl").write_text("".join(lines[:kept]) + "".join(lines[kept : kept + 1])[:50])
        if kept < len(lines):
            break
        kept -= len(lines)
        if source != whole:
            for name in ("round.json", "model.safetensors"):
                shutil.copy(source / name, target / name)
    search = search_in(tmp_path, folder, GENTLE, **ROUNDS)
    again, same = search.run()
    assert same == finalists and state_equal(again, start)
    assert [log(target) for _, target in rounds] == [log(source) for source, _ in rounds]
    assert [one.sparsity for one in search.rounds] == [one.sparsity for one in searched[0].rounds]


def test_the_control_loses_the_same_share_of_every_layer_in_as_many_rounds(
    searched: tuple[WeightSearch, torch.nn.Module, list[Finalist], Path],
) -> None:
    search = searched[0]
    sparsities = [one.sparsity for one in search.rounds]
    network, plan = search.uniform(sparsities)
    assert sparsity(network) == pytest.approx(sparsities[0], abs=3 / SIZE)
    shares = [layer.kept / layer.size for layer in plan.weights.values()]
    assert max(shares) - min(shares) < 0.01 and plan.provenance == {"control": "uniform"}
    left = sum(plan.keep_counts().values())
    assert left <= SIZE * (1 - sparsities[-1]) + 1e-6 and left == pytest.approx(SIZE * (1 - sparsities[-1]), abs=3)
    assert state_equal(search.uniform(sparsities)[0], network)  # from the file that it left


def test_a_network_below_chance_is_given_up_and_none_left_is_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WeightPruner, "prune", lambda *_: evaluation(0.33))  # of three classes
    search = search_in(tmp_path, folder)
    with pytest.raises(SearchError, match=r"given up, the last one after 0: .* 33\.33%; .* 40% of the dense network's"):
        search.run()
    assert {episode["failure"] for episode in log(tmp_path)} == {"given up after 0: top-1 33.00%, below 33.33%"}


def test_episodes_that_are_given_up_count_as_episodes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PuRL, Algorithm 1: the training ends after so many episodes, however short they are."""
    accuracies = itertools.cycle((0.9, 0.9, 0.2))
    monkeypatch.setattr(WeightPruner, "prune", lambda *_: evaluation(next(accuracies)))
    search_in(tmp_path, folder, episodes=6).run()
    explored = [episode for episode in log(tmp_path) if episode["kind"] == "explore"]
    assert len(explored) == 6 and {bool(episode["failure"]) for episode in explored} == {True, False}


@pytest.mark.parametrize("threshold", ["sigma", "share"])
def test_the_target_is_met_by_what_is_really_zero(folder: Path, tmp_path: Path, threshold: str) -> None:
    search = search_in(tmp_path, folder, {"threshold": threshold}, target={"sparsity": 0.5, "accuracy_drop": 0.1})
    start, finalists = search.run()
    for finalist in finalists:
        zeros = 1 - sum(finalist.plan.values()) / SIZE
        assert 1 - finalist.cost_ratio == pytest.approx(zeros)
        assert finalist.meets_targets == (zeros >= 0.5 - 1e-9)
    assert state_equal(start, search.subject.network)


def test_layers_that_are_skipped_count_in_the_target(folder: Path, tmp_path: Path) -> None:
    search = search_in(tmp_path, folder, {"skip": ["0"]})
    assert [layer.name for layer in search.layers] == ["3", "8"]
    task = make_weight_task(search.subject, search.subject.network, search.layers, 0.6)
    kept = {"3": 57, "8": 21}
    assert task.cost.step(kept).ratio == pytest.approx((216 + 57 + 21) / SIZE)
    with pytest.raises(ConfigError, match=r"0\.9 cannot be reached: .* make 78\.4% the most"):
        search_in(tmp_path, folder, {"skip": ["0"]}, target={"sparsity": 0.9}).run()
    with pytest.raises(ModelError, match="'nine' matches no layer; the layers are 0, 3, 8"):
        search_in(tmp_path, folder, {"skip": ["nine"]})


def test_multiply_accumulates_are_those_of_weights_that_are_not_zero(folder: Path) -> None:
    subject = toy_subject(folder)
    task = make_weight_task(subject, subject.network, weight_layers(subject.network, (3, 12, 12)), 0.6)
    assert task.macs({}) == 216 * 36 + 576 * 9 + 216
    assert task.macs({"0": 16, "8": 116}) == 16 * 36 + 576 * 9 + 116


@given(
    sizes=st.lists(st.integers(20, 400), min_size=1, max_size=5),
    gone=st.floats(0.0, 0.6),
    asked=st.floats(0.0, 0.9),
)
def test_a_uniform_plan_hits_any_sparsity_from_any_start(sizes: list[int], gone: float, asked: float) -> None:
    network = torch.nn.Sequential(*(torch.nn.Linear(size, 1) for size in sizes))
    with torch.no_grad():
        network[0].weight[:, : int(gone * sizes[0])] = 0.0
    layers = [WeightLayer(str(number), size) for number, size in enumerate(sizes)]
    kept = uniform_kept(network, layers, sum(sizes), asked)
    left = weights_left(network, layers)
    assert all(1 <= kept[name] <= left[name] for name in left)
    wanted = round(sum(sizes) * (1 - asked))
    assert sum(kept.values()) <= wanted
    assert sum(kept.values()) >= min(wanted - len(sizes), sum(left.values()))
