"""Which layer an operation of a profile is.

XNNPACK calls its operations by what they do ("Convolution (NHWC, F32) DWConv"), not by the layer that they came from.
It keeps their order, though, and runs each layer with weights as one operation: where a profile and a model file hold
the same sequence of convolutions, depthwise ones told apart, the file's layers name them. An operation without weights
is named after the layer before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from device_bench.records import OpTime
from device_bench.tflite import Graph, LayerKind

START = "input"
_DEPTHWISE = re.compile(r"DWConv|Depthwise|^DEPTHWISE_CONV_2D$")
_MATMUL = re.compile(r"^(Dynamic )?Fully Connected \(|^Convolution \(|^(CONV_2D|FULLY_CONNECTED)$")
_NO_OPERATION = re.compile(r"^LiteRT::|Delegate$")  # the runtime's own steps; a network that ran in one piece


def name_layers(ops: Sequence[OpTime], graph: Graph) -> tuple[OpTime, ...]:
    """The operations with the names of the model's layers; as they are where the two do not fit together."""
    kinds = [_kind(op) for op in ops]
    if [kind for kind in kinds if kind] != [layer.kind for layer in graph.layers] or not graph.layers:
        return tuple(ops)
    layers = iter(graph.layers)
    last, named = START, []
    for op, kind in zip(ops, kinds, strict=True):
        if kind is not None:
            last = next(layers).name
        name = op.name if _NO_OPERATION.search(op.type) else last if kind else f"{last}, then {op.type}"
        named.append(op.model_copy(update={"name": name}))
    return tuple(named)


def _kind(op: OpTime) -> LayerKind | None:
    if _DEPTHWISE.search(op.type):
        return "depthwise"
    return "matmul" if _MATMUL.search(op.type) else None
