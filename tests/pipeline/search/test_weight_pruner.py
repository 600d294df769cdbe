"""A walk over weights: what each step zeroes stays zero, and what is retrained decides what the next one takes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from pipeline.config import Config, PruningSection
from pipeline.pruning.weights import kept_by_share, kept_by_sigma, weight_layers, weights_left, zero_weights, zeros_of
from pipeline.search.actions import weight_amounts
from pipeline.search.env import PruneEnv
from pipeline.search.episodes import EpisodeLog
from pipeline.search.weight_pruner import WeightPruner
from pipeline.search.weight_rounds import plan_of
from pipeline.search.weight_search import make_weight_task
from pipeline.subject import save_weights
from tests.pipeline.search.toy_weights import LAYERS, ToySubject, toy_config, toy_subject
from tests.pipeline.toy import state_equal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toy_weights")


def pruner_of(folder: Path, pruning: dict[str, Any] | None = None, **search: Any) -> tuple[ToySubject, WeightPruner]:
    subject = toy_subject(folder, pruning, **search)
    return subject, WeightPruner(subject, subject.network, weight_layers(subject.network, subject.input_shape))


def network_of(pruner: WeightPruner) -> torch.nn.Module:
    return pruner._network


def walk(pruner: WeightPruner, amount: float, episode: int = 0) -> dict[str, int]:
    pruner.begin(episode)
    kept: dict[str, int] = {}
    for number, name in enumerate(LAYERS):
        kept[name] = pruner.kept_by(number, amount)
        if number + 1 < len(LAYERS):
            pruner.prune(number, kept[name])
    pruner.finish(kept)
    return kept


def test_a_walk_leaves_what_it_says_and_its_zeros_stay_through_the_retraining(folder: Path) -> None:
    subject, pruner = pruner_of(folder)
    pruner.begin(0)
    kept: dict[str, int] = {}
    zeros: dict[str, torch.Tensor] = {}
    for number, (name, size) in enumerate(LAYERS.items()):
        kept[name] = pruner.kept_by(number, 1.0)
        assert 0 < kept[name] < size
        pruner.prune(number, kept[name])
        now = zeros_of(network_of(pruner))
        assert all(torch.equal(now[done] & mask, mask) for done, mask in zeros.items())
        assert int((~now[f"{name}.weight"]).sum()) == kept[name]
        zeros[f"{name}.weight"] = now[f"{name}.weight"]
    layers = weight_layers(subject.network, subject.input_shape)
    assert weights_left(network_of(pruner), layers) == kept
    assert weights_left(subject.network, layers) == LAYERS  # where episodes start from is left alone


def test_a_retraining_that_diverges_is_undone_and_the_search_goes_on(folder: Path) -> None:
    _, pruner = pruner_of(folder, recover={**toy_config().search.recover.model_dump(), "learning_rate": 1e30})
    kept = walk(pruner, 1.0)
    network = network_of(pruner)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert {name: int(network.get_submodule(name).get_parameter("weight").count_nonzero()) for name in LAYERS} == kept


def test_what_goes_of_a_layer_is_decided_after_the_layers_before_were_retrained(folder: Path) -> None:
    subject, pruner = pruner_of(folder)
    before = kept_by_sigma(subject.network.get_submodule("3").get_parameter("weight"), 1.0)
    pruner.begin(0)
    assert pruner.kept_by(1, 1.0) == before
    pruner.prune(0, pruner.kept_by(0, 1.0))
    retrained = network_of(pruner).get_submodule("3").get_parameter("weight")
    assert not torch.equal(retrained, subject.network.get_submodule("3").get_parameter("weight"))
    assert pruner.kept_by(1, 1.0) == kept_by_sigma(retrained, 1.0)


@pytest.mark.parametrize("recover", [{"kind": "batchnorm"}, {"kind": "retrain", "each_step": False}])
def test_without_retraining_at_each_step_the_later_weights_wait_as_they_are(
    folder: Path, recover: dict[str, Any]
) -> None:
    subject, pruner = pruner_of(folder, recover=recover)
    pruner.begin(0)
    pruner.prune(0, 100)
    for name in ("3", "8"):
        weights = [of.get_submodule(name).get_parameter("weight") for of in (network_of(pruner), subject.network)]
        assert torch.equal(*weights)


def test_an_episode_does_not_depend_on_those_before_it(folder: Path) -> None:
    _, pruner = pruner_of(folder)
    first = walk(pruner, 0.8, episode=3)
    network = copy.deepcopy(network_of(pruner))
    walk(pruner, 1.6, episode=4)
    assert walk(pruner, 0.8, episode=3) == first and state_equal(network_of(pruner), network)
    walk(pruner, 0.8, episode=5)  # other orders of images
    assert not state_equal(network_of(pruner), network)


def test_a_share_takes_as_many_of_every_layer(folder: Path) -> None:
    subject, pruner = pruner_of(folder, {"threshold": "share"})
    assert walk(pruner, 0.75) == {name: size // 4 for name, size in LAYERS.items()}
    amounts = weight_amounts(PruningSection(kind="weights", threshold="share"))
    assert len(amounts) == 12 and amounts[0] == 0.0 and amounts[-1] == pytest.approx(0.9722, abs=1e-4)
    multiples = weight_amounts(PruningSection(kind="weights", sigma_step=0.1))
    assert multiples == pytest.approx([step / 10 for step in range(23)])
    weight = subject.network.get_submodule("3").get_parameter("weight")
    assert kept_by_share(weight, 0.0) == 576


def test_zeros_of_an_earlier_round_never_come_back_and_are_never_counted_as_kept(folder: Path) -> None:
    subject = toy_subject(folder)
    layers = weight_layers(subject.network, subject.input_shape)
    earlier = copy.deepcopy(subject.network)
    zero_weights(earlier, plan_of(subject, layers, {"0": 100, "3": 200, "8": 80}))
    pruner = WeightPruner(subject, earlier, layers)
    assert walk(pruner, 0.0) == {"0": 100, "3": 200, "8": 80}
    zeros, now = zeros_of(earlier), zeros_of(network_of(pruner))
    assert all(torch.equal(now[name] & mask, mask) for name, mask in zeros.items())


def test_resnet_50_is_walked_in_54_steps_and_seen_in_108_numbers(tmp_path: Path) -> None:
    """PuRL 4.1.5: two numbers for each of 54 layers."""
    model = {"name": "resnet50", "options": {"width": 0.125}}
    save_weights(models.load(model["name"], 3, options=model["options"], seed=0), tmp_path / "dense.safetensors")
    config = toy_config(target={"sparsity": 0.6, "accuracy_drop": 0.0}).model_dump()
    config |= {"model": model, "data": {"image_size": 32}}
    subject = ToySubject(Config.model_validate(config), tmp_path / "dense.safetensors")
    layers = weight_layers(subject.network, subject.input_shape)
    task = make_weight_task(subject, subject.network, layers, 0.6)
    assert len(task.sites) == 54
    env = PruneEnv(task, EpisodeLog(tmp_path / "episodes.jsonl"), 0)
    assert env.observation_space.shape == (108,)
