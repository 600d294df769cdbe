"""Fisher importance is the squared derivative of each image's loss by a channel's gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config import PruningSection
from pipeline.pruning.fisher import TEMPERATURE, fisher_scores
from pipeline.pruning.groups import find_groups, prunable
from tests.pipeline.toy import SIDE, toy_data, toy_network

SHAPE = (3, SIDE, SIDE)


def batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return next(iter(toy_data().train.batches(n)))


def slope(network: nn.Module, norm: int, channel: int, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each image's loss by the gate of one channel, by finite differences."""

    def losses(gate: float) -> torch.Tensor:
        def close(layer: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
            gated = output.clone()
            gated[:, channel] *= gate
            return gated

        hook = network.get_submodule(str(norm)).register_forward_hook(close)
        with torch.no_grad():
            found = nn.functional.cross_entropy(network(images) / TEMPERATURE, labels, reduction="none")
        hook.remove()
        return found

    return (losses(1 + 1e-4) - losses(1 - 1e-4)) / 2e-4


@pytest.mark.parametrize("norm", [1, 4])
def test_it_is_what_finite_differences_of_single_images_give(norm: int) -> None:
    network = toy_network().double().eval()
    images, labels = batch(12)
    groups = prunable(find_groups(network.float(), SHAPE, PruningSection(round_to=1)))
    network.double()
    score = fisher_scores(network, groups, [(images.double(), labels)])[str(norm - 1)]
    expected = [float(slope(network, norm, i, images.double(), labels).square().mean()) for i in range(8)]
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-12)


def test_images_count_alike_however_they_are_batched() -> None:
    network = toy_network()
    groups = prunable(find_groups(network, SHAPE, PruningSection(round_to=1)))
    images, labels = batch(12)
    whole = fisher_scores(network, groups, [(images, labels)])
    parts = fisher_scores(network, groups, [(images[:5], labels[:5]), (images[5:], labels[5:])])
    for name, scores in whole.items():
        np.testing.assert_allclose(parts[name], scores, rtol=1e-4)


def test_a_channel_that_nothing_reads_is_worth_nothing() -> None:
    network = toy_network()
    with torch.no_grad():
        network[3].weight[:, 2] = 0.0  # type: ignore[index]
    groups = prunable(find_groups(network, SHAPE, PruningSection(round_to=1)))
    score = fisher_scores(network, groups, [batch(12)])["0"]
    assert score[2] == 0.0 and (np.delete(score, 2) > 0.0).all()


def test_the_network_is_left_as_it_was() -> None:
    network = toy_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = prunable(find_groups(network, SHAPE, PruningSection(round_to=1)))
    network.train()
    fisher_scores(network, groups, [batch(12)])
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
