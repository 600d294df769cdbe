"""Groups are tried out: what torch-pruning cannot follow is left whole instead of pruned wrongly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import models
from pipeline.pruning.channels import verified
from pipeline.pruning.costs import parameter_count, trace_shape
from pipeline.pruning.groups import find_groups, prunable
from tests.pipeline.pruning.conftest import FREE
from tests.small import OPTIONS

SHAPE = (3, 32, 32)


class Net(nn.Module):
    """conv -> conv -> linear, with what lies between them given."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor], features: int = 8 * 8 * 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.between = between
        self.head = nn.Linear(features, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.between(self.second(self.first(x).relu()).relu()))


TRAPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "channels last before the linear layer": lambda x: x.permute(0, 2, 3, 1).flatten(1),
    "softmax over channels": lambda x: x.softmax(dim=1).flatten(1),
    "a fixed size": lambda x: x.reshape(-1, 8 * 8 * 8),
    "a slice": lambda x: torch.cat([x[:, :4], x[:, 4:]], dim=1).flatten(1),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_what_cannot_be_followed_is_left_whole(trap: str) -> None:
    torch.manual_seed(0)
    network = Net(TRAPS[trap]).eval()
    groups = verified(network, find_groups(network, SHAPE, FREE), SHAPE)
    reasons = {group.name: group.fixed for group in groups}
    if trap != "a fixed size":  # torch-pruning follows this one where the batch is left open
        assert reasons["second"] is not None
    assert reasons["first"] is None


def test_a_plain_network_loses_no_group() -> None:
    network = Net(lambda x: x.flatten(1)).eval()
    groups = find_groups(network, SHAPE, FREE)
    assert verified(network, groups, SHAPE) == groups


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *OPTIONS.items(),
        ("resnet50", {"width": 0.25, "small_images": True}),
        ("efficientnet_b2", {"width": 0.25}),
        ("wide_resnet28", {"width": 1}),
    ],
)
def test_a_shipped_network_loses_no_group(name: str, options: dict[str, Any]) -> None:
    network = models.load(name, num_classes=10, options=options, image_size=32, seed=0).eval()
    found = find_groups(network, SHAPE, FREE)
    assert [group.fixed for group in verified(network, found, SHAPE)] == [group.fixed for group in found]
    assert [group.name for group in found if group.fixed] == [found[-1].name], "the classifier's outputs alone"


class Twice(nn.Module):
    """The same convolution at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.shared(self.stem(x)).relu()).relu()
        return self.head(x.mean(dim=(2, 3)))


def test_a_layer_that_runs_twice_costs_twice_and_is_stored_once() -> None:
    network = Twice().eval()
    groups = find_groups(network, SHAPE, FREE)
    shape = trace_shape(network, groups, SHAPE)
    assert shape.params({}) == parameter_count(network)
    pixels = 32 * 32
    assert shape.macs({}) == pixels * (27 * 8 + 2 * 72 * 8) + 40
    half = {group.name: 4 for group in prunable(groups)}
    assert shape.macs(half) == pixels * (27 * 4 + 2 * 36 * 4) + 20
    assert shape.params(half) == (27 * 4 + 4) + (36 * 4 + 4) + (4 * 5 + 5)
