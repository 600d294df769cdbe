"""A masked and a rebuilt network compute the same, for every shipped network and any plan."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import models
from pipeline.config import PruningSection
from pipeline.errors import ModelError
from pipeline.pruning.channels import make_plan, mask, rebuild, strongest
from pipeline.pruning.costs import parameter_count
from pipeline.pruning.groups import ChannelGroup, find_groups, keep_values, prunable
from pipeline.pruning.importance import group_scores
from pipeline.records import Architecture, GroupPlan, PruningPlan
from pipeline.run_folder import write_json
from pipeline.subject import save_weights
from pipeline.training import recalibrate_batchnorm
from tests.pipeline.pruning.conftest import CLASSES, FREE, SHAPE, copy_of, dense, dense_groups

LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}


def random_plan(name: str, seed: int) -> PruningPlan:
    """Any channels of any groups: not the least important ones, which would hide an index that is off by one."""
    rng = np.random.default_rng(seed)
    groups = dense_groups(name)
    scores = {group.name: rng.random(group.channels) for group in groups}
    counts = {g.name: int(rng.integers(1, g.channels + 1)) for g in prunable(groups) if rng.random() < 0.8}
    architecture = Architecture(name=name, num_classes=CLASSES, image_size=SHAPE[1])
    return make_plan(architecture, groups, counts, scores, {})


def images(count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.parametrize("name", models.names())
@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_masked_and_rebuilt_networks_agree(name: str, seed: int) -> None:
    plan = random_plan(name, seed)
    for dtype, limit in LIMITS.items():
        masked = copy_of(dense(name), dtype)
        slim = rebuild(masked, dense_groups(name), plan)
        mask(masked, dense_groups(name), plan)
        with torch.no_grad():
            assert largest_difference(masked(images(2, dtype)), slim(images(2, dtype))) < limit
    assert parameter_count(slim) < parameter_count(masked)


@pytest.mark.parametrize("name", models.names())
def test_they_still_agree_when_each_is_recalibrated(name: str) -> None:
    plan = random_plan(name, seed=7)
    masked = copy_of(dense(name), torch.float32)
    slim = rebuild(masked, dense_groups(name), plan)
    mask(masked, dense_groups(name), plan)
    for network in (masked, slim):
        recalibrate_batchnorm(network, images(32).split(16))
    with torch.no_grad():
        assert largest_difference(masked(images(4)), slim(images(4))) < 1e-4


def test_plan_and_weights_alone_rebuild_the_network_in_a_fresh_process(tmp_path: Path) -> None:
    plan = random_plan("mobilenet_v2", seed=3)
    slim = rebuild(dense("mobilenet_v2"), dense_groups("mobilenet_v2"), plan)
    write_json(tmp_path / "plan.json", plan)
    save_weights(slim, tmp_path / "model.safetensors")
    program = (
        "import json, sys; from pathlib import Path; import torch\n"
        "from pipeline.records import PruningPlan, read_json; from pipeline.subject import load_slimmed\n"
        "folder = Path(sys.argv[1])\n"
        "network = load_slimmed(read_json(PruningPlan, folder / 'plan.json'), folder / 'model.safetensors')\n"
        "x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))\n"
        "print(json.dumps(network(x).tolist()))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    with torch.no_grad():
        expected = slim(images(2))
    assert largest_difference(expected, torch.tensor(json.loads(result.stdout))) < 1e-6


class Concatenating(nn.Module):
    """Two branches side by side, then flattened: offsets and several positions for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.right = nn.Conv2d(3, 12, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(20)
        self.mix = nn.Conv2d(20, 6, 1)
        self.head = nn.Linear(6 * 16 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(torch.cat([self.left(x), self.right(x)], dim=1)).sigmoid()
        return self.head(self.mix(y).flatten(1))


def test_concatenation_and_flattening() -> None:
    torch.manual_seed(0)
    network = Concatenating().eval()
    groups = find_groups(network, SHAPE, FREE)
    assert [group.name for group in groups] == ["left", "right", "mix", "head"]
    plan = PruningPlan(
        architecture=Architecture(name="x", num_classes=5, image_size=64),
        groups={
            "left": GroupPlan(channels=8, kept=(0, 5)),
            "right": GroupPlan(channels=12, kept=(1, 2, 11)),
            "mix": GroupPlan(channels=6, kept=(3, 4)),
        },
    )
    slim = rebuild(network, groups, plan)
    assert slim.head.in_features == 2 * 16 * 16
    assert slim.norm.num_features == 5
    mask(network, groups, plan)
    with torch.no_grad():
        assert largest_difference(network(images(3)), slim(images(3))) < 1e-5


def test_the_configuration_decides_which_layers_stay_whole() -> None:
    def names(**changes: object) -> set[str]:
        groups = find_groups(dense("mobilenet_v2"), SHAPE, PruningSection(**changes))
        return {group.name for group in prunable(groups)}

    everything = names()
    assert len(everything) == 25
    assert everything - names(first_layer=False) == {"features.0.0"}
    assert everything - names(last_layer=False) == {"features.18.0"}
    assert everything - names(skip=("features.1?.conv.0.0",)) == {f"features.1{i}.conv.0.0" for i in range(8)}
    assert "features.1.conv.1" not in names(round_to=16)  # 16 channels: no smaller multiple
    with pytest.raises(ModelError, match=r"nothing\.\*.*matches no group"):
        names(skip=("nothing.*",))


def test_a_plan_of_another_network_is_refused() -> None:
    plan = random_plan("resnet18", seed=0)
    with pytest.raises(ModelError, match="does not have"):
        rebuild(dense("mobilenet_v2"), dense_groups("mobilenet_v2"), plan)
    wrong = PruningPlan(architecture=plan.architecture, groups={"conv1": GroupPlan(channels=5, kept=(0,))})
    with pytest.raises(ModelError, match="is for 5 channels in 'conv1', this network has 64"):
        rebuild(dense("resnet18"), dense_groups("resnet18"), wrong)


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).mean(dim=(2, 3)))


def test_a_layer_that_masks_cannot_imitate_keeps_its_group_whole() -> None:
    with pytest.raises(ModelError, match="norm is a GroupNorm"):
        find_groups(Normalised(), SHAPE, FREE)


@given(channels=st.integers(1, 2000), round_to=st.sampled_from([1, 4, 8, 16]), min_keep=st.floats(0.01, 0.99))
def test_keep_values_follow_the_rules(channels: int, round_to: int, min_keep: float) -> None:
    values = keep_values(channels, PruningSection(round_to=round_to, min_keep=min_keep))
    assert values[-1] == channels
    assert list(values) == sorted(set(values))
    assert all(value % round_to == 0 for value in values[:-1])
    assert all(value >= min_keep * channels for value in values)


@given(scores=st.lists(st.integers(0, 5), min_size=1, max_size=40), data=st.data())
def test_strongest_keeps_the_highest_scores(scores: list[int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(1, len(scores)))
    kept = strongest(np.array(scores, dtype=float), keep)
    assert len(kept) == keep and list(kept) == sorted(set(kept))
    gone = [score for index, score in enumerate(scores) if index not in kept]
    assert not gone or max(gone) <= min(scores[index] for index in kept)


@pytest.mark.parametrize("importance", ["l1", "l2", "bn_scale", "taylor", "random"])
def test_importances_order_channels_as_they_say(importance: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 2)).eval()
    conv, norm = network[0], network[1]
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[1.0, 1, 1], [3, 0, 0], [0.1, 0, 0], [0, 2, 2]])[:, :, None, None])
        norm.weight.copy_(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    groups: tuple[ChannelGroup, ...] = prunable(find_groups(network, (3, 4, 4), FREE))
    batch = (torch.randn(8, 3, 4, 4), torch.randint(0, 2, (8,)))
    scores = group_scores(network, groups, importance, batches=[batch], seed=5)["0"]
    order = np.argsort(-scores, kind="stable").tolist()
    expected = {"l1": [3, 0, 1, 2], "l2": [1, 3, 0, 2], "bn_scale": [0, 1, 2, 3]}
    if importance in expected:
        # l1: 3, 3, 0.1 and 4; equal norms keep their order. l2: 1.73, 3, 0.1 and 2.83.
        assert order == expected[importance]
    assert scores.shape == (4,) and (scores >= 0).all()
    again = group_scores(network, groups, importance, batches=[batch], seed=5)["0"]
    assert (scores == again).all()
    assert all(parameter.grad is None for parameter in network.parameters())
