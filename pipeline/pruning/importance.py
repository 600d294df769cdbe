"""How important each channel of a group is: one score per channel, higher is kept longer.

L1 is Li et al. 2017 (filters with the smallest norm go first, as 002_87b8c24d6cc31293 uses it on MobileNet). A
coupled group sums the scores of all layers that write its channels, each first divided by its own mean, so that no
layer dominates because its weights are large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.errors import ModelError
from pipeline.pruning.gates import Loss, gate_scores
from pipeline.pruning.groups import ChannelGroup, Member

Importance = Literal["l1", "l2", "taylor", "fisher", "bn_scale", "random"]
Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def group_scores(
    network: nn.Module,
    groups: Sequence[ChannelGroup],
    importance: Importance,
    *,
    batches: Batches = (),
    seed: int = 0,
    relative: bool = True,
    loss: Loss | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Scores (channels,) of every group by name; `batches` (images, labels) are read by taylor and fisher alone.

    Args:
        relative: each layer's scores over their mean; else as they are, so that groups can be told apart by them.
            Those by gates are always as they are: in one unit.
        loss: the user's, for taylor and fisher; None is cross-entropy.
    """
    if importance == "random":
        generator = np.random.default_rng(seed)
        return {group.name: generator.random(group.channels) for group in groups}
    if importance == "taylor" or importance == "fisher":
        scores = gate_scores(network, groups, batches, importance, loss)
    else:
        score = _SCORES[importance]
        scores = {group.name: _group_score(network, group, score, relative=relative) for group in groups}
    flat = [name for name, values in scores.items() if not values.any()]
    if flat:
        raise ModelError(
            f"pruning.importance: {importance!r} says nothing about {flat[0]} (all its channels score zero: it has "
            "no batch norm, or no gradient); choose l1 or l2, or name the group in pruning.skip"
        )
    return scores


def _group_score(
    network: nn.Module, group: ChannelGroup, score: Callable[[nn.Module], torch.Tensor | None], *, relative: bool
) -> NDArray[np.float64]:
    total = np.zeros(group.channels)
    for member in group.members:
        if member.axis == "out":
            values = score(network.get_submodule(member.layer))
            if values is not None:
                scores = _per_channel(values.detach().double().numpy(), member, group.channels)
                total += scores / ((relative and scores.mean()) or 1.0)
    return total


def _per_channel(values: NDArray[np.float64], member: Member, channels: int) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = np.bincount(
        member.channels, weights=values[member.positions], minlength=channels
    ).astype(np.float64)
    return summed


def _l1(layer: nn.Module) -> torch.Tensor | None:
    """Sum of absolute weights per output channel: (C_out, C_in, K_h, K_w) -> (C_out,)."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return None
    return layer.weight.abs().flatten(1).sum(dim=1)


def _l2(layer: nn.Module) -> torch.Tensor | None:
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return None
    norms: torch.Tensor = torch.linalg.vector_norm(layer.weight.flatten(1), dim=1)
    return norms


def _bn_scale(layer: nn.Module) -> torch.Tensor | None:
    """|gamma| of the batch norm that scales the channel (Liu et al. 2017, network slimming)."""
    if not isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d) or layer.weight is None:
        return None
    return layer.weight.abs()


_SCORES: dict[str, Callable[[nn.Module], torch.Tensor | None]] = {
    "l1": _l1,
    "l2": _l2,
    "bn_scale": _bn_scale,
}
