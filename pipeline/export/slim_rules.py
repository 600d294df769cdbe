"""Which channels of each tensor are left when layers of a TFLite graph lose some: one rule for each kind of operation.

A tensor's `Kept` has one entry for each axis: the positions that stay, sorted, or None for all of them. Layers with
weights say what they write; every other operation only passes on what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
"""Operations that are called after a module of the network."""
Positions = NDArray[np.int64]
Kept = tuple[Positions | None, ...]


class NotSlimmableError(Exception):
    """The graph, or this choice of channels, holds something that no rule here follows; the text says what."""


@dataclass(frozen=True)
class Operation:
    """One operation of the dense graph; tensors by their index, -1 is one that is left out."""

    kind: str
    layer: str
    """The module that its weights belong to, where it has weights."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    """The schema's builtin options."""


@dataclass(frozen=True)
class DenseGraph:
    """The graph that is cut, in the order in which it runs."""

    operations: Sequence[Operation]
    shapes: Sequence[tuple[int, ...]]
    constants: Mapping[int, NDArray[Any]]
    """Values by tensor."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass
class Walk:
    """From the graph's inputs to its outputs, once for each choice of channels."""

    graph: DenseGraph
    written: Mapping[str, Positions]
    """What layers with weights still write, by module; those that are not named write all of their channels."""
    kept: dict[int, Kept] = field(default_factory=dict)

    def go(self) -> dict[int, Kept]:
        """What every tensor keeps.

        Raises:
            NotSlimmableError: an operation has no rule, or its rule does not hold here.
        """
        for tensor in self.graph.inputs:
            self.kept[tensor] = self.whole(tensor)
        for operation in self.graph.operations:
            rule = RULES.get(operation.kind)
            if rule is None:
                raise NotSlimmableError(f"{operation.kind} has no rule")
            try:
                rule(self, operation)
            except NotSlimmableError as error:
                raise NotSlimmableError(f"{operation.kind} {operation.layer}: {error}") from error
        for tensor in self.graph.outputs:
            self.require_whole(tensor, "the network's output")
        return self.kept

    def whole(self, tensor: int) -> Kept:
        return (None,) * len(self.graph.shapes[tensor])

    def put(self, tensor: int, kept: Kept) -> None:
        """A tensor that two operations read must be cut in one way."""
        before = self.kept.setdefault(tensor, kept)
        if not all(same(a, b) for a, b in zip(before, kept, strict=True)):
            raise NotSlimmableError("two operations share a constant and need different parts of it")

    def require_whole(self, tensor: int, what: str) -> None:
        if any(axis is not None for axis in self.kept[tensor]):
            raise NotSlimmableError(f"{what} would lose channels")

    def constant(self, tensor: int) -> NDArray[Any]:
        if tensor not in self.graph.constants:
            raise NotSlimmableError("an argument that must be a constant is computed")
        return self.graph.constants[tensor]


def same(a: Positions | None, b: Positions | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def lengths(kept: Kept, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of what is left of a tensor."""
    return tuple(size if axis is None else len(axis) for axis, size in zip(kept, shape, strict=True))


def _layer(walk: Walk, operation: Operation) -> None:
    """CONV_2D, filter (C_out, K_h, K_w, C_in), and FULLY_CONNECTED, weights (C_out, C_in)."""
    source, weights, bias = operation.inputs
    shape = walk.graph.shapes[weights]
    walk.constant(weights)
    *outer, read = walk.kept[source]
    if any(axis is not None for axis in outer):
        raise NotSlimmableError("an axis other than that of the channels is cut")
    written = walk.written.get(operation.layer)
    if walk.graph.shapes[source][-1] != shape[-1] and (read is not None or written is not None):
        raise NotSlimmableError("its channels come in groups")
    walk.put(weights, (written, *(None for _ in shape[1:-1]), read))
    _finish_layer(walk, operation, bias, written)


def _depthwise(walk: Walk, operation: Operation) -> None:
    """DEPTHWISE_CONV_2D, filter (1, K_h, K_w, C): what comes in goes out."""
    source, weights, bias = operation.inputs
    walk.constant(weights)
    *outer, read = walk.kept[source]
    if any(axis is not None for axis in outer):
        raise NotSlimmableError("an axis other than that of the channels is cut")
    if read is not None and operation.options.depthMultiplier != 1:
        raise NotSlimmableError("it writes several channels for each that it reads")
    if read is not None and len(read) == 1:
        raise NotSlimmableError("with one channel it is exported as an ordinary convolution")
    # A batch norm that stands alone is exported as such a layer, and is none of those that write channels.
    if operation.layer in walk.written and not same(walk.written[operation.layer], read):
        raise NotSlimmableError("it should write other channels than it reads")
    walk.put(weights, (None, None, None, read))
    _finish_layer(walk, operation, bias, read)


def _finish_layer(walk: Walk, operation: Operation, bias: int, written: Positions | None) -> None:
    if bias >= 0:
        walk.constant(bias)
        walk.put(bias, (written,))
    (target,) = operation.outputs
    walk.put(target, (*walk.whole(target)[:-1], written))


def _unchanged(walk: Walk, operation: Operation) -> None:
    """Operations that treat each value alone, and pools, which treat each channel alone."""
    walk.put(operation.outputs[0], walk.kept[operation.inputs[0]])


def _pad(walk: Walk, operation: Operation) -> None:
    amounts = walk.constant(operation.inputs[1])
    kept = walk.kept[operation.inputs[0]]
    if any(axis is not None and amount.any() for axis, amount in zip(kept, amounts, strict=True)):
        raise NotSlimmableError("it pads an axis that is cut")
    walk.put(operation.outputs[0], kept)


def _binary(walk: Walk, operation: Operation) -> None:
    """Two tensors, or a tensor and a constant, with numpy's broadcasting."""
    (target,) = operation.outputs
    rank = len(walk.graph.shapes[target])
    computed = [tensor for tensor in operation.inputs if tensor not in walk.graph.constants]
    result: list[Positions | None] = [None] * rank
    for axis in range(-rank, 0):
        # A size of 1 is stretched over what the other one has.
        wide = [t for t in computed if -axis <= len(walk.graph.shapes[t]) and walk.graph.shapes[t][axis] > 1]
        parts = [walk.kept[tensor][axis] for tensor in wide]
        if any(not same(part, parts[0]) for part in parts[1:]):
            raise NotSlimmableError("its two sides lose different channels")
        result[axis] = parts[0] if parts else None
    for tensor in operation.inputs:
        if tensor in walk.graph.constants:
            shape = walk.graph.shapes[tensor]
            tail = result[rank - len(shape) :]
            walk.put(tensor, tuple(None if size == 1 else part for size, part in zip(shape, tail, strict=True)))
    walk.put(target, tuple(result))


def _reduce(walk: Walk, operation: Operation) -> None:
    source, axes = operation.inputs
    kept = walk.kept[source]
    reduced = {int(axis) % len(kept) for axis in walk.constant(axes).reshape(-1)}
    rest: Kept = tuple(None if number in reduced else axis for number, axis in enumerate(kept))
    if not operation.options.keepDims:
        rest = tuple(axis for number, axis in enumerate(rest) if number not in reduced)
    walk.put(operation.outputs[0], rest)


def _transpose(walk: Walk, operation: Operation) -> None:
    source, order = operation.inputs
    walk.put(operation.outputs[0], tuple(walk.kept[source][int(axis)] for axis in walk.constant(order)))


def _concatenate(walk: Walk, operation: Operation) -> None:
    (target,) = operation.outputs
    rank = len(walk.graph.shapes[target])
    along = operation.options.axis % rank
    parts = [walk.kept[tensor] for tensor in operation.inputs if tensor not in walk.graph.constants]
    if len(parts) < len(operation.inputs):
        raise NotSlimmableError("one of its parts is a constant")
    if any(not same(part[a], parts[0][a]) for part in parts[1:] for a in range(rank) if a != along):
        raise NotSlimmableError("its parts lose different channels")
    joined: Positions | None = None
    if any(part[along] is not None for part in parts):
        positions, start = [], 0
        for tensor, part in zip(operation.inputs, parts, strict=True):
            size = walk.graph.shapes[tensor][along]
            own = part[along]
            positions.append(start + (np.arange(size) if own is None else own))
            start += size
        joined = np.concatenate(positions)
    walk.put(target, (*parts[0][:along], joined, *parts[0][along + 1 :]))


def _reshape(walk: Walk, operation: Operation) -> None:
    """Values that stay are marked, and the marks take the new shape, where they must again be whole rows."""
    source, shape = operation.inputs
    (target,) = operation.outputs
    kept, old, new = walk.kept[source], walk.graph.shapes[source], walk.graph.shapes[target]
    walk.constant(shape)
    walk.put(shape, walk.whole(shape))
    if all(axis is None for axis in kept):
        walk.put(target, walk.whole(target))
        return
    marks = np.zeros(old, np.bool_)
    marks[np.ix_(*(np.arange(size) if axis is None else axis for axis, size in zip(kept, old, strict=True)))] = True
    marks = marks.reshape(new)
    rest: list[Positions | None] = []
    for number, size in enumerate(new):
        used = np.flatnonzero(marks.any(axis=tuple(other for other in range(len(new)) if other != number)))
        rest.append(None if len(used) == size else used)
    if marks.sum() != np.prod(lengths(tuple(rest), new)):
        raise NotSlimmableError("what is left is no rectangle in its new shape")
    walk.put(target, tuple(rest))


Rule = Callable[[Walk, Operation], None]
_ALONE = (
    "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU ELU GELU LOGISTIC HARD_SWISH TANH "
    "ABS NEG EXP LOG SQRT RSQRT SQUARE AVERAGE_POOL_2D MAX_POOL_2D SOFTMAX"
)
_PAIRS = "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE POW PRELU"
RULES: dict[str, Rule] = {
    "CONV_2D": _layer,
    "FULLY_CONNECTED": _layer,
    "DEPTHWISE_CONV_2D": _depthwise,
    "PAD": _pad,
    "PADV2": _pad,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenate,
    "RESHAPE": _reshape,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduce),
    **dict.fromkeys(_ALONE.split(), _unchanged),
    **dict.fromkeys(_PAIRS.split(), _binary),
}
"""By the schema's names (BuiltinOperator)."""
