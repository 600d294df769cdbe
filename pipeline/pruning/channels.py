"""From a plan to a network: physically smaller (`rebuild`), or the same size with zeros (`mask`).

Both compute the same function on the same batch-norm statistics; a property test holds them to it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import nn

from pipeline.errors import ModelError
from pipeline.pruning.groups import ChannelGroup, Indices, Member, is_depthwise
from pipeline.records import Architecture, GroupPlan, PruningPlan

TOLERANCE = 1e-4
"""Of the largest output: float32 sums in another order differ by less than 1e-6 of it."""
Scores = Mapping[str, NDArray[np.float64]]


def strongest(scores: NDArray[np.float64], keep: int) -> tuple[int, ...]:
    """Indices of the `keep` highest scores, sorted; the lower index wins a tie, so equal inputs give equal plans."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    return tuple(sorted(int(index) for index in order[:keep]))


def make_plan(
    architecture: Architecture,
    groups: Iterable[ChannelGroup],
    keep_counts: Mapping[str, int],
    scores: Scores,
    provenance: Mapping[str, Any],
) -> PruningPlan:
    """The plan that keeps the `keep_counts` most important channels of each group; groups left out stay whole."""
    plans = {}
    for group in groups:
        keep = keep_counts.get(group.name, group.channels)
        if keep < group.channels:
            plans[group.name] = GroupPlan(channels=group.channels, kept=strongest(scores[group.name], keep))
    return PruningPlan(architecture=architecture, groups=plans, provenance=dict(provenance))


def rebuild(network: nn.Module, groups: Iterable[ChannelGroup], plan: PruningPlan) -> nn.Module:
    """A copy of the dense `network` without the channels that `plan` removes.

    Raises:
        ModelError: the plan names a group or a channel count that this network does not have.
    """
    slim = copy.deepcopy(network)
    for (name, axis), positions in removed_positions(groups, plan).items():
        _shrink(slim.get_submodule(name), axis, positions.tolist())
    return slim


def removed_positions(groups: Iterable[ChannelGroup], plan: PruningPlan) -> dict[tuple[str, str], Indices]:
    """What `plan` removes, sorted, by layer and axis ("out" or "in").

    Raises:
        ModelError: the plan names a group or a channel count that these groups do not have.
    """
    removed: dict[tuple[str, str], list[Indices]] = {}
    for group, channels in _removed_channels(groups, plan):
        for member in group.members:
            removed.setdefault((member.layer, member.axis), []).append(member.positions_of(channels))
    return {key: np.unique(np.concatenate(positions)) for key, positions in removed.items()}


def verified(
    network: nn.Module, groups: Sequence[ChannelGroup], input_shape: tuple[int, int, int]
) -> tuple[ChannelGroup, ...]:
    """The groups, those left whole whose removal does not give the network that masking gives.

    Operations that mix channels by position (a permutation before a linear layer, a softmax over channels, a shuffle),
    fixed sizes in the forward, and weights that two layers share cannot be followed, and are found by trying: all
    groups at once, and one by one only where that fails.
    """
    example = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    open_groups = [group for group in groups if group.fixed is None]
    if _agrees(network, open_groups, example):
        return tuple(groups)
    wrong = {group.name for group in open_groups if not _agrees(network, [group], example)}
    reason = "the network without its channels does not run, or computes something else"
    return tuple(dataclasses.replace(group, fixed=reason) if group.name in wrong else group for group in groups)


@torch.no_grad()
def _agrees(network: nn.Module, groups: Sequence[ChannelGroup], example: torch.Tensor) -> bool:
    """Whether masked and rebuilt networks agree when every other channel of these groups goes."""
    kept = {g.name: GroupPlan(channels=g.channels, kept=tuple(range(0, g.channels, 2))) for g in groups}
    plan = PruningPlan(architecture=Architecture(name="trial", num_classes=1, image_size=1), groups=kept)
    masked = copy.deepcopy(network).eval()
    try:
        slim = rebuild(masked, groups, plan).eval()
        mask(masked, groups, plan)
        expected, found = masked(example), slim(example)
    except Exception:  # whatever the user's forward raises on fewer channels
        return False
    scale = float(expected.abs().max()) or 1.0
    return expected.shape == found.shape and float((expected - found).abs().max()) <= TOLERANCE * scale


def _shrink(layer: nn.Module, axis: str, positions: list[int]) -> None:
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        tp.prune_batchnorm_out_channels(layer, positions)
    elif is_depthwise(layer):
        tp.prune_depthwise_conv_out_channels(layer, positions)
    elif isinstance(layer, nn.Conv2d):
        (tp.prune_conv_out_channels if axis == "out" else tp.prune_conv_in_channels)(layer, positions)
    else:
        (tp.prune_linear_out_channels if axis == "out" else tp.prune_linear_in_channels)(layer, positions)


@torch.no_grad()
def mask(network: nn.Module, groups: Iterable[ChannelGroup], plan: PruningPlan) -> None:
    """Set to zero, in place, every parameter that `rebuild` would remove."""
    for group, channels in _removed_channels(groups, plan):
        mask_group(network, group, channels)


@torch.no_grad()
def mask_group(network: nn.Module, group: ChannelGroup, channels: Indices) -> None:
    """Zero the group's `channels` in place: the weights that write them, and the weights that read them."""
    for member in group.members:
        positions = torch.from_numpy(member.positions_of(channels))
        for parameter, axis in _parameters(network.get_submodule(member.layer), member):
            parameter.index_fill_(axis, positions, 0.0)


def _parameters(layer: nn.Module, member: Member) -> list[tuple[nn.Parameter, int]]:
    """The layer's parameters that have the member's axis, each with its number."""
    if member.axis == "in" and not is_depthwise(layer):
        return [(layer.get_parameter("weight"), 1)]
    return [(parameter, 0) for parameter in layer.parameters(recurse=False)]


def _removed_channels(groups: Iterable[ChannelGroup], plan: PruningPlan) -> list[tuple[ChannelGroup, Indices]]:
    by_name = {group.name: group for group in groups}
    result = []
    for name, group_plan in plan.groups.items():
        group = by_name.get(name)
        if group is None:
            raise ModelError(
                f"the plan prunes {name!r}, which this network does not have; its groups are {', '.join(by_name)}"
            )
        if group.channels != group_plan.channels:
            raise ModelError(
                f"the plan is for {group_plan.channels} channels in {name!r}, this network has {group.channels}; "
                "give the architecture and options that the plan was made for"
            )
        channels = np.setdiff1d(np.arange(group.channels), group_plan.kept)
        result.append((group, channels.astype(np.int64)))
    return result
