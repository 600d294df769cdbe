"""Importances by gates: squared derivatives of the loss, of each image or of each batch, by a channel's gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config import PruningSection
from pipeline.pruning.gates import TEMPERATURE, gate_scores
from pipeline.pruning.groups import find_groups, prunable
from tests.pipeline.toy import SIDE, toy_data, toy_network

SHAPE = (3, SIDE, SIDE)


def batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return next(iter(toy_data().train.batches(n)))


def slope(
    network: nn.Module, norm: int, channel: int, images: torch.Tensor, labels: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Of each image's loss by the gate of one channel, by finite differences."""

    def losses(gate: float) -> torch.Tensor:
        def close(layer: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
            gated = output.clone()
            gated[:, channel] *= gate
            return gated

        hook = network.get_submodule(str(norm)).register_forward_hook(close)
        with torch.no_grad():
            found = nn.functional.cross_entropy(network(images) / temperature, labels, reduction="none")
        hook.remove()
        return found

    return (losses(1 + 1e-4) - losses(1 - 1e-4)) / 2e-4


@pytest.mark.parametrize("norm", [1, 4])
def test_they_are_what_finite_differences_give(norm: int) -> None:
    network = toy_network().eval()
    groups = prunable(find_groups(network, SHAPE, PruningSection(round_to=1)))
    network.double()
    images, labels = batch(12)
    halves = [(images[:6].double(), labels[:6]), (images[6:].double(), labels[6:])]
    fisher = gate_scores(network, groups, halves, "fisher")[str(norm - 1)]
    taylor = gate_scores(network, groups, halves, "taylor")[str(norm - 1)]
    for channel in range(8):
        softened = torch.cat([slope(network, norm, channel, *half, TEMPERATURE) for half in halves])
        assert fisher[channel] == pytest.approx(float(softened.square().mean()), rel=1e-4, abs=1e-12)
        batches = torch.stack([slope(network, norm, channel, *half, 1.0).mean() for half in halves])
        assert taylor[channel] == pytest.approx(float(batches.square().mean()), rel=1e-4, abs=1e-12)


def test_images_count_alike_however_they_are_batched() -> None:
    network = toy_network()
    groups = prunable(find_groups(network, SHAPE, PruningSection(round_to=1)))
    images, labels = batch(12)
    whole = gate_scores(network, groups, [(images, labels)], "fisher")
    parts = gate_scores(network, groups, [(images[:5], labels[:5]), (images[5:], labels[5:])], "fisher")
    for name, scores in whole.items():
        np.testing.assert_allclose(parts[name], scores, rtol=1e-4)


def test_a_channel_that_nothing_reads_is_worth_nothing() -> None:
    network = toy_network()
    with torch.no_grad():
        network[3].weight[:, 2] = 0.0  # type: ignore[index]
    groups = prunable(find_groups(network, SHAPE, PruningSection(round_to=1)))
    score = gate_scores(network, groups, [batch(12)], "fisher")["0"]
    assert score[2] == 0.0 and (np.delete(score, 2) > 0.0).all()


def test_the_network_is_left_as_it_was() -> None:
    network = toy_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = prunable(find_groups(network, SHAPE, PruningSection(round_to=1)))
    network.train()
    gate_scores(network, groups, [batch(12)], "fisher")
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
