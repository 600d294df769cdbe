"""How accurate a masked network is, cheaply enough to be asked after every step.

One pass over a few validation images in batch statistics: batch norm normalises with the batch itself, which is what
recalibration would give it, so no second pass is needed. Groups are pruned in the order in which the network runs
them, so everything before the group's first layer is as it was: the pass starts there, on remembered activations.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn

from pipeline.pruning.channels import mask_group
from pipeline.pruning.groups import ChannelGroup, Indices
from pipeline.records import Evaluation

Values = dict[fx.Node, Any]


class PrefixJudge:
    """Judges one walk over the groups after another; `begin` starts a walk, `prune` takes the next group.

    A network that torch.fx cannot trace is run whole each time: slower, same answers.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[ChannelGroup],
        images: torch.Tensor,
        evaluate: Callable[[torch.Tensor], Evaluation],
    ) -> None:
        """Judge with these normalised images (N, C, H, W); `evaluate` turns the logits for them into figures."""
        self._network = copy.deepcopy(network).eval().to(memory_format=torch.channels_last)
        for layer in self._network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.train()
                layer.momentum = 0.0  # batch statistics, and the running ones stay as they are
            if hasattr(layer, "inplace"):
                setattr(layer, "inplace", False)  # noqa: B010  # remembered activations must survive
        self._dense = {name: value.clone() for name, value in self._network.state_dict().items()}
        self._groups = groups
        self._images = images.to(memory_format=torch.channels_last)
        self._evaluate = evaluate
        self._interpreter = _trace(self._network)
        self._nodes: list[fx.Node] = list(self._interpreter.graph.nodes) if self._interpreter else []
        self._starts = _starts(self._nodes, groups)
        self._last_use = _last_uses(self._nodes)
        self._writes_in_place = any(_is_in_place(node) for node in self._nodes)
        self._remembered: Values = {}
        self._position = 0
        self._dense_evaluation = self._run(start=0, next_start=self._starts[0])
        self._dense_prefix = self._remembered

    def begin(self) -> Evaluation:
        """Restore the dense network; its evaluation is computed once."""
        self._network.load_state_dict(self._dense)
        self._position = 0
        self._remembered = dict(self._dense_prefix)
        return self._dense_evaluation

    def prune(self, channels: Indices) -> Evaluation:
        """Zero these channels of the next group in the walk, and judge."""
        if len(channels):
            mask_group(self._network, self._groups[self._position], channels)
        start = self._starts[self._position]
        self._position += 1
        return self._run(start=start, next_start=self._starts[self._position])

    @torch.no_grad()
    def _run(self, *, start: int, next_start: int) -> Evaluation:
        """Run nodes `start`.. on the remembered values, and remember what node `next_start` on will need."""
        if self._interpreter is None:
            return self._evaluate(self._network(self._images))
        values = self._remembered if start else {}
        self._remembered = {}
        for position in range(start, len(self._nodes)):
            if position == next_start:
                self._remembered = {n: _copy(v) if self._writes_in_place else v for n, v in values.items()}
            node = self._nodes[position]
            arguments, keywords = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            if node.op == "output":
                return self._evaluate(values[node.all_input_nodes[0]])
            if node.op == "placeholder":
                values[node] = self._images
            else:
                values[node] = getattr(self._interpreter, node.op)(node.target, arguments, keywords)
            for used in node.all_input_nodes:
                if self._last_use[used] == position:
                    del values[used]
        raise AssertionError("a graph ends with its output node")


def _trace(network: nn.Module) -> fx.Interpreter | None:
    try:
        return fx.Interpreter(fx.symbolic_trace(network))
    except Exception:  # a forward that is not one fixed graph: the whole network is run instead
        return None


def _starts(nodes: list[fx.Node], groups: Sequence[ChannelGroup]) -> list[int]:
    """For each group, the first node that reads a parameter of it or of a later group; one past the end closes it."""
    starts = [len(nodes)]
    for group in reversed(groups):
        layers = {member.layer for member in group.members}
        first = next((i for i, node in enumerate(nodes) if _parameter_owner(node) in layers), 0)
        starts.append(min(first, starts[-1]))
    return starts[::-1]


def _parameter_owner(node: fx.Node) -> str | None:
    if node.op == "call_module":
        return str(node.target)
    return str(node.target).rpartition(".")[0] if node.op == "get_attr" else None


def _last_uses(nodes: list[fx.Node]) -> dict[fx.Node, int]:
    last = {node: -1 for node in nodes}
    for position, node in enumerate(nodes):
        for used in node.all_input_nodes:
            last[used] = position
    return last


def _is_in_place(node: fx.Node) -> bool:
    name = getattr(node.target, "__name__", str(node.target))
    augmented = name in {"iadd", "isub", "imul", "itruediv"}
    return augmented or bool(node.kwargs.get("inplace")) or (node.op != "call_module" and name.endswith("_"))


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
