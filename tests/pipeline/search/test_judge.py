"""The quick judge says what one pass over the whole masked network in batch statistics says."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import models
from pipeline.evaluation import evaluation_from_logits
from pipeline.pruning.channels import make_plan, mask, strongest
from pipeline.pruning.groups import find_groups, prunable
from pipeline.pruning.importance import group_scores
from pipeline.records import Architecture, Evaluation
from pipeline.search.judge import PrefixJudge
from tests.pipeline.pruning.conftest import FREE
from tests.small import OPTIONS

SHAPE = (3, 32, 32)


class Branching(nn.Module):
    """Adds in place, and (if asked) takes a turn that torch.fx cannot follow."""

    def __init__(self, data_dependent: bool) -> None:
        super().__init__()
        self.data_dependent = data_dependent
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = nn.Conv2d(8, 8, 1)
        self.wide = nn.Conv2d(8, 12, 3, stride=2)
        self.head = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu_()
        if self.data_dependent and x.sum() < 0:
            return self.head(self.wide(x).mean(dim=(2, 3)))
        y = self.left(x)
        y += self.right(x)
        y += x
        return self.head(self.wide(y).relu().mean(dim=(2, 3)))


NETWORKS = {
    name: lambda name=name, options=options: models.load(name, num_classes=10, options=options, image_size=32)
    for name, options in OPTIONS.items()
}
NETWORKS |= {"in_place": lambda: Branching(False), "untraceable": lambda: Branching(True)}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_prefix_is_remembered_rightly(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    groups = prunable(find_groups(network, SHAPE, FREE))
    scores = group_scores(network, groups, "l1")
    images, labels = torch.randn(8, *SHAPE), torch.randint(0, 10, (8,))

    def figures(outputs: torch.Tensor) -> Evaluation:
        return evaluation_from_logits(outputs, labels, "validation")

    def slowly(counts: dict[str, int]) -> float:
        masked = copy.deepcopy(network)
        mask(
            masked, groups, make_plan(Architecture(name="x", num_classes=10, image_size=32), groups, counts, scores, {})
        )
        for layer in masked.modules():
            layer.train(isinstance(layer, nn.BatchNorm2d))
        with torch.no_grad():
            return figures(masked(images)).loss

    judge = PrefixJudge(network, groups, images, figures)
    rng = np.random.default_rng(0)
    for _ in range(2):
        assert judge.begin().loss == pytest.approx(slowly({}), rel=1e-4)
        counts: dict[str, int] = {}
        for number, group in enumerate(groups):
            counts[group.name] = int(rng.integers(1, group.channels + 1))
            gone = np.setdiff1d(np.arange(group.channels), strongest(scores[group.name], counts[group.name]))
            loss = judge.prune(gone).loss
            if number % max(1, len(groups) // 5) == 0:
                assert loss == pytest.approx(slowly(counts), rel=1e-4)


def test_the_network_itself_is_left_alone() -> None:
    torch.manual_seed(0)
    network = Branching(False).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = prunable(find_groups(network, SHAPE, FREE))
    labels = torch.zeros(4, dtype=torch.int64)
    judge = PrefixJudge(
        network, groups, torch.randn(4, *SHAPE), lambda outputs: evaluation_from_logits(outputs, labels, "validation")
    )
    judge.prune(np.array([0, 1]))
    assert not network.norm.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
