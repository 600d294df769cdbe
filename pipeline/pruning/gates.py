"""Importance by gates: how much the loss hangs on a channel.

Multiply a channel by a gate of 1. The derivative of the loss by the gate is the sum over pixels of activation times
gradient, and tells to first order what is lost when the gate closes. Two importances square it:

- `taylor` (Molchanov et al. 2019, Importance estimation for neural network pruning, equation 8, on gates after the
  batch norms): the square of each batch's mean, averaged over batches. HALP's importance is this one.
- `fisher`: the square of each single image's, averaged over images, which is the gate's empirical Fisher information
  (Theis et al. 2018, Faster gaze prediction with dense networks and Fisher pruning, equation 6): images cannot cancel
  each other. Departure: the logits are divided by a temperature first. A trained network is sure of most training
  images, whose gradients vanish; softened, they say as much as the others.

Scores are in squared nats and can be added over channels and groups. A sum of weight times gradient over a filter would
say nothing here: a batch norm behind it undoes its scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.pruning.groups import ChannelGroup, Member

TEMPERATURE = 4.0
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def gate_scores(
    network: nn.Module,
    groups: Sequence[ChannelGroup],
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    kind: Literal["taylor", "fisher"],
    loss: Loss | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Scores (channels,) of every group by name: the sum over its gates, which are its batch norms' outputs.

    A group without batch norm has its convolutions' and linear layers' outputs as gates.

    Args:
        batches: (images, labels), normalised; each image (fisher) or batch (taylor) counts alike.
        loss: the user's, a mean over images of (outputs, labels), which has no temperature; None is cross-entropy.
    """
    gates = {group.name: _gates(network, group) for group in groups}
    layers = {member.layer for members in gates.values() for member in members}
    squares: dict[str, NDArray[np.float64]] = {}
    outputs: dict[str, torch.Tensor] = {}
    count = 0
    temperature = TEMPERATURE if kind == "fisher" else 1.0
    hooks = [network.get_submodule(name).register_forward_hook(_keep_output(name, outputs)) for name in layers]
    training = network.training
    network.eval()
    try:
        for images, labels in batches:
            answers = network(images)
            network.zero_grad(set_to_none=True)
            objective = (
                nn.functional.cross_entropy(answers / temperature, labels) if loss is None else loss(answers, labels)
            )
            weight = len(labels) if kind == "fisher" else 1  # the loss of single images, or of their mean
            (objective * weight).backward()  # type: ignore[no-untyped-call]
            for name, output in outputs.items():
                squares[name] = squares.get(name, 0.0) + _squares(output, by_image=kind == "fisher")
            count += weight
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)
        network.zero_grad(set_to_none=True)
    return {
        group.name: sum(
            (_per_channel(squares[gate.layer] / count, gate, group.channels) for gate in gates[group.name]),
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


def _squares(output: torch.Tensor, *, by_image: bool) -> NDArray[np.float64]:
    """(N, C, ...) with its gradient -> (C,): the gates' squared derivatives, summed over images before or after."""
    if output.grad is None:
        return np.zeros(output.shape[1])
    derivative = (output * output.grad).flatten(2).sum(dim=2) if output.ndim > 2 else output * output.grad
    derivative = derivative.detach().double()
    return (derivative.square().sum(dim=0) if by_image else derivative.sum(dim=0).square()).numpy()


def _per_channel(values: NDArray[np.float64], gate: Member, channels: int) -> NDArray[np.float64]:
    return np.bincount(gate.channels, weights=values[gate.positions], minlength=channels).astype(np.float64)
