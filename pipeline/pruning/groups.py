"""Coupled channels: which layers must lose the same channels together.

torch-pruning's dependency graph finds the couplings (residual sums, depthwise convolutions, concatenations);
here they become plain values that masks, importances, costs and the rebuild all read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import nn

from pipeline.config import PruningSection
from pipeline.errors import ModelError

Indices = NDArray[np.int64]
PRUNABLE_LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d)


@dataclass(frozen=True)
class Member:
    """One axis of one layer that shrinks with the group.

    `positions[j]` on that axis belongs to the group's channel `channels[j]` (a flattened feature map gives each
    channel several positions, a concatenation an offset).
    """

    layer: str
    axis: Literal["out", "in"]
    positions: Indices
    channels: Indices

    def positions_of(self, channels: Indices) -> Indices:
        return self.positions[np.isin(self.channels, channels)]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are kept or removed together; `name` is the first layer that the group touches."""

    name: str
    channels: int
    members: tuple[Member, ...]
    fixed: str | None
    """Why the group is left whole, or None if it may be pruned."""

    def producers(self, network: nn.Module) -> list[tuple[nn.Module, Member]]:
        """Convolutions and linear layers that write the group's channels (depthwise ones included)."""
        pairs = ((network.get_submodule(member.layer), member) for member in self.members if member.axis == "out")
        return [(layer, member) for layer, member in pairs if isinstance(layer, nn.Conv2d | nn.Linear)]


def find_groups(
    network: nn.Module, input_shape: tuple[int, int, int], settings: PruningSection
) -> tuple[ChannelGroup, ...]:
    """All channel groups in the order of the first layer that they touch, fixed ones included.

    Raises:
        ModelError: the network does not run at this input shape, or nothing in it can be pruned.
    """
    example = torch.zeros(1, *input_shape)
    training = network.training
    network.eval()
    try:
        call_order = _call_order(network, example)
        graph = tp.DependencyGraph().build_dependency(network, example_inputs=example)
    except Exception as error:  # the user's forward can raise anything
        raise ModelError(
            f"the network cannot be traced with an input of shape {tuple(example.shape)}: "
            f"{type(error).__name__}: {error}; check data.image_size and the network's forward"
        ) from error
    finally:
        network.train(training)
    raw = [_members(group, network) for group in graph.get_all_groups(ignored_layers=[])]
    groups = [_build(members, reason, network, call_order) for members, reason in raw if members]
    groups = [group for group in groups if group.name in call_order]
    groups.sort(key=lambda group: call_order[group.name])
    groups = _apply_settings(groups, settings)
    require_prunable(groups)
    return tuple(groups)


def require_prunable(groups: Sequence[ChannelGroup]) -> None:
    if all(group.fixed for group in groups):
        reasons = ", ".join(sorted({f"{group.name}: {group.fixed}" for group in groups})) or "no convolutions found"
        raise ModelError(f"no channel of this network can be pruned ({reasons}); relax the pruning section")


def prunable(groups: tuple[ChannelGroup, ...]) -> tuple[ChannelGroup, ...]:
    return tuple(group for group in groups if group.fixed is None)


def keep_values(channels: int, settings: PruningSection) -> tuple[int, ...]:
    """The channel counts that a group of `channels` may be left with, ascending; `channels` itself is the last."""
    step = settings.round_to
    lowest = max(step, -(-int(np.ceil(channels * settings.min_keep)) // step) * step)
    return (*range(lowest, channels, step), channels)


def _call_order(network: nn.Module, example: torch.Tensor) -> dict[str, int]:
    order: dict[str, int] = {}

    names = {layer: name for name, layer in network.named_modules()}

    def remember(layer: nn.Module, _inputs: Any) -> None:
        order.setdefault(names[layer], len(order))

    hooks = [layer.register_forward_pre_hook(remember) for layer in names]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return order


def _members(group: Any, network: nn.Module) -> tuple[tuple[Member, ...], str | None]:
    """The layer axes of one torch-pruning group, and a reason to leave it whole."""
    names = {layer: name for name, layer in network.named_modules()}
    members: dict[tuple[str, str], list[tuple[Indices, Indices]]] = {}
    reason: str | None = None
    for item in group:
        layer = item.dep.target.module
        if layer not in names:
            if isinstance(layer, nn.Parameter):
                reason = "a free parameter depends on it"
            continue
        if not isinstance(layer, PRUNABLE_LAYERS):
            reason = f"{names[layer]} is a {type(layer).__name__}"
        elif isinstance(layer, nn.Conv2d) and layer.groups > 1 and not is_depthwise(layer):
            reason = f"{names[layer]} is a grouped convolution"
        axis = "in" if "in_channels" in item.dep.handler.__name__ else "out"
        if is_depthwise(layer) or isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            axis = "out"
        roots = item.root_idxs if item.root_idxs is not None else item.idxs
        positions, channels = np.asarray(item.idxs, dtype=np.int64), np.asarray(roots, dtype=np.int64)
        members.setdefault((names[layer], axis), []).append((positions, channels))
    return tuple(_merge(layer, axis, parts) for (layer, axis), parts in members.items()), reason


def _merge(layer: str, axis: str, parts: list[tuple[Indices, Indices]]) -> Member:
    pairs = np.unique(np.concatenate([np.stack(part, axis=1) for part in parts]), axis=0)
    return Member(layer, "in" if axis == "in" else "out", pairs[:, 0], pairs[:, 1])


def is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1


def _build(
    members: tuple[Member, ...], reason: str | None, network: nn.Module, call_order: Mapping[str, int]
) -> ChannelGroup:
    writers = [m for m in members if m.axis == "out"] or list(members)
    first = min(writers, key=lambda member: call_order.get(member.layer, len(call_order)))
    channels = 1 + max(int(member.channels.max()) for member in members)
    if reason is None and all(member.axis == "out" for member in members):
        reason = "it is the network's output"
    members = tuple(sorted(members, key=lambda member: call_order.get(member.layer, len(call_order))))
    return ChannelGroup(first.layer, channels, members, reason)


def _apply_settings(groups: list[ChannelGroup], settings: PruningSection) -> list[ChannelGroup]:
    outputs = {m.layer for group in groups if group.fixed == "it is the network's output" for m in group.members}
    unmatched = [p for p in settings.skip if not any(fnmatchcase(group.name, p) for group in groups)]
    if unmatched:
        known = ", ".join(group.name for group in groups)
        raise ModelError(f"pruning.skip: {unmatched[0]!r} matches no group; the groups are {known}")
    result = []
    for position, group in enumerate(groups):
        reason = group.fixed
        if reason is None and any(fnmatchcase(group.name, pattern) for pattern in settings.skip):
            reason = "pruning.skip names it"
        if reason is None and position == 0 and not settings.first_layer:
            reason = "pruning.first_layer is false"
        feeds_output = any(member.axis == "in" and member.layer in outputs for member in group.members)
        if reason is None and feeds_output and not settings.last_layer:
            reason = "pruning.last_layer is false"
        if reason is None and len(keep_values(group.channels, settings)) == 1:
            reason = f"its {group.channels} channels have no smaller multiple of {settings.round_to}"
        result.append(ChannelGroup(group.name, group.channels, group.members, reason))
    return result
