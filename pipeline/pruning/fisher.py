"""Fisher importance: how much single images' losses hang on a channel.

Multiply a channel by a gate of 1. For one image, the derivative of the loss by the gate is the sum over pixels of
activation times gradient; its square, averaged over images, is the gate's empirical Fisher information, which tells (to
second order, up to a factor) by how much the loss rises when the gate closes (Theis et al. 2018, Faster gaze prediction
with dense networks and Fisher pruning, equation 6). First-order Taylor importance averages before it squares, so that
images cancel each other.

Departure: the logits are divided by a temperature first. A trained network is sure of most training images, whose
gradients vanish; softened, they say as much as the others. Scores are in squared nats and can be added over channels
and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.pruning.groups import ChannelGroup, Member

TEMPERATURE = 4.0
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def fisher_scores(
    network: nn.Module,
    groups: Sequence[ChannelGroup],
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss: Loss | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Scores (channels,) of every group by name: the sum over its gates, which are its batch norms' outputs.

    A group without batch norm has its convolutions' and linear layers' outputs as gates.

    Args:
        batches: (images, labels), normalised; each image counts alike.
        loss: the user's, a mean over images of (outputs, labels), which has no temperature; None is cross-entropy.
    """
    gates = {group.name: _gates(network, group) for group in groups}
    layers = {member.layer for members in gates.values() for member in members}
    squares: dict[str, NDArray[np.float64]] = {}
    outputs: dict[str, torch.Tensor] = {}
    seen = 0
    hooks = [network.get_submodule(name).register_forward_hook(_keep_output(name, outputs)) for name in layers]
    training = network.training
    network.eval()
    try:
        for images, labels in batches:
            answers = network(images)
            network.zero_grad(set_to_none=True)
            objective = (
                nn.functional.cross_entropy(answers / TEMPERATURE, labels) if loss is None else loss(answers, labels)
            )
            (objective * len(labels)).backward()  # type: ignore[no-untyped-call]
            for name, output in outputs.items():
                squares[name] = squares.get(name, 0.0) + _squared_gates(output)
            seen += len(labels)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)
        network.zero_grad(set_to_none=True)
    return {
        group.name: sum(
            (_per_channel(squares[gate.layer] / seen, gate, group.channels) for gate in gates[group.name]),
            np.zeros(group.channels),
        )
        for group in groups
    }


def _gates(network: nn.Module, group: ChannelGroup) -> list[Member]:
    written = [(network.get_submodule(member.layer), member) for member in group.members if member.axis == "out"]
    norms = [member for layer, member in written if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    return norms or [member for layer, member in written if isinstance(layer, nn.Conv2d | nn.Linear)]


def _keep_output(name: str, outputs: dict[str, torch.Tensor]) -> Callable[[nn.Module, Any, torch.Tensor], torch.Tensor]:
    def keep(layer: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()  # the next layer may write into it
        output.retain_grad()
        outputs[name] = output
        return output

    return keep


def _squared_gates(output: torch.Tensor) -> NDArray[np.float64]:
    """(N, C, ...) with its gradient -> (C,): the gates' squared derivatives, summed over images."""
    if output.grad is None:
        return np.zeros(output.shape[1])
    derivative = (output * output.grad).flatten(2).sum(dim=2) if output.ndim > 2 else output * output.grad
    return derivative.detach().double().square().sum(dim=0).numpy()


def _per_channel(values: NDArray[np.float64], gate: Member, channels: int) -> NDArray[np.float64]:
    return np.bincount(gate.channels, weights=values[gate.positions], minlength=channels).astype(np.float64)
