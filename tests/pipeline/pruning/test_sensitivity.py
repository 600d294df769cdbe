"""What is lost when one group alone is pseudo-pruned."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pipeline.config import PruningSection
from pipeline.pruning.groups import find_groups, prunable
from pipeline.pruning.sensitivity import losses_alone
from tests.pipeline.toy import SIDE, toy_data, toy_network


def test_each_group_is_tried_alone_and_the_network_is_left_as_it_was() -> None:
    network = toy_network()
    with torch.no_grad():
        network[3].weight[:, :4] = 0.0  # type: ignore[index]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = prunable(find_groups(network, (3, SIDE, SIDE), PruningSection(round_to=1)))
    images, labels = next(iter(toy_data().train.batches(30)))
    scores = {group.name: np.arange(8.0) for group in groups}  # the weaker half is channels 0 to 3
    seen: list[torch.Tensor] = []

    def loss_of(answers: torch.Tensor) -> float:
        seen.append(answers)
        return float(nn.functional.cross_entropy(answers, labels))

    risen = losses_alone(network, groups, scores, images, loss_of)
    assert abs(risen["0"]) < 1e-6  # nothing reads what it loses
    assert abs(risen["3"]) > 1e-3 and risen["3"] == loss_of(seen[2]) - loss_of(seen[0])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
