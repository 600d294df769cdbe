"""A pruned network's TFLite file, cut out of the dense one's: milliseconds where the whole export takes a second.

The library that this rests on is the flatbuffer schema's object API, which ships with LiteRT. tflite-support writes
metadata only, and onnx-graphsurgeon cuts ONNX graphs, which would leave the slow half of the way, onnx2tf, to do.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from device_bench.tflite import layer_name
from pipeline.export.slim_rules import (
    WEIGHTED,
    DenseGraph,
    Kept,
    NotSlimmableError,
    Operation,
    Positions,
    Walk,
    lengths,
)

_IDENTIFIER = b"TFL3"
_HEADROOM_BYTES = 4096  # a builder that is too small doubles, and copies all it has
_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_TYPES = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64}


class TfliteSlimmer:
    """Cuts channels out of one dense fp32 TFLite file.

    Args:
        dense: the file; layers with weights are called after their modules, as onnx2tf does it.

    Raises:
        NotSlimmableError: the file is of another form than our exporter's.
    """

    def __init__(self, dense: bytes) -> None:
        self._size = len(dense)
        self._model = _parse(dense)
        self._dense = _read(self._model)

    @property
    def layers(self) -> dict[str, str]:
        """Operations with weights: the module's path, and the kind of operation."""
        return {o.layer: o.kind for o in self._dense.operations if o.kind in WEIGHTED}

    def slim(self, written: Mapping[str, Positions]) -> bytes:
        """The file of the network without the other channels.

        Args:
            written: the output channels that stay, sorted, of each convolution or linear layer that loses some.

        Raises:
            NotSlimmableError: no rule follows what would have to be cut.
        """
        unknown = written.keys() - self.layers.keys()
        if unknown:
            raise NotSlimmableError(f"no operation is called after the layer {min(unknown)}")
        kept = Walk(self._dense, written).go()
        draft = _Draft(self._model, self._dense)
        for tensor, parts in kept.items():
            if any(part is not None for part in parts):
                draft.cut(tensor, parts)
        draft.fit_reshapes()
        builder = flatbuffers.Builder(self._size + _HEADROOM_BYTES)
        builder.Finish(draft.model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())


def difference(a: bytes, b: bytes) -> str | None:
    """The first way in which the graphs of two TFLite files differ, weights aside; None where they are the same.

    Raises:
        NotSlimmableError: one of them cannot be read as a graph of our exporter's form.
    """
    one, other = (_read(_parse(content)) for content in (a, b))
    if len(one.operations) != len(other.operations):
        return f"{len(one.operations)} operations, not {len(other.operations)}"
    for number, (own, expected) in enumerate(zip(one.operations, other.operations, strict=True)):
        first, second = _described(one, own), _described(other, expected)
        if first != second:
            return f"operation {number} is {first}, not {second}"
    return None


def _described(dense: DenseGraph, operation: Operation) -> str:
    """Kind, module, shapes and options in words."""
    shapes = [dense.shapes[tensor] if tensor >= 0 else None for tensor in (*operation.inputs, *operation.outputs)]
    values = vars(operation.options) if operation.options else {}
    options = {name: np.asarray(value).tolist() for name, value in values.items()}
    return f"{operation.kind} {operation.layer} {shapes} {options}"


class _Draft:
    """A copy of the schema's objects that shares with the dense ones whatever is not cut."""

    def __init__(self, model: Any, dense: DenseGraph) -> None:
        self._dense = dense
        self.model = copy.copy(model)
        self._graph = copy.copy(model.subgraphs[0])
        self.model.subgraphs, self.model.buffers = [self._graph], list(model.buffers)
        self._graph.tensors, self._graph.operators = list(self._graph.tensors), list(self._graph.operators)
        self._users = Counter(tensor.buffer for tensor in self._graph.tensors)

    def cut(self, tensor: int, kept: Kept) -> None:
        changed = copy.copy(self._graph.tensors[tensor])
        changed.shape = np.array(lengths(kept, self._dense.shapes[tensor]), np.int32)
        if changed.shapeSignature is not None:
            changed.shapeSignature = changed.shape
        self._graph.tensors[tensor] = changed
        values = self._dense.constants.get(tensor)
        if values is not None:
            for axis, part in enumerate(kept):
                if part is not None:
                    values = values.take(part, axis)
            self._fill(changed, values)

    def fit_reshapes(self) -> None:
        """RESHAPE holds its target twice, as an option and as a constant."""
        for number, operation in enumerate(self._dense.operations):
            if operation.kind != "RESHAPE":
                continue
            source = operation.inputs[1]
            dense = self._dense.constants[source]
            target = self._graph.tensors[operation.outputs[0]].shape
            # -1 stands for whatever is left
            values = np.where(dense < 0, dense, np.asarray(target, dense.dtype))
            changed = copy.copy(self._graph.tensors[source])
            self._graph.tensors[source] = changed
            self._fill(changed, values)
            if operation.options is not None and operation.options.newShape is not None:
                operator = copy.copy(self._graph.operators[number])
                operator.builtinOptions = copy.copy(operation.options)
                operator.builtinOptions.newShape = values.astype(np.int32)
                self._graph.operators[number] = operator

    def _fill(self, tensor: Any, values: NDArray[Any]) -> None:
        data = schema.BufferT(data=np.ascontiguousarray(values).reshape(-1).view(np.uint8))
        if self._users[tensor.buffer] == 1:
            self.model.buffers[tensor.buffer] = data
        else:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(data)


def _parse(content: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _read(model: Any) -> DenseGraph:
    if len(model.subgraphs) != 1:
        raise NotSlimmableError(f"it has {len(model.subgraphs)} graphs")
    (graph,) = model.subgraphs
    # A scalar's shape may be left out.
    shapes = [tuple(map(int, () if tensor.shape is None else tensor.shape)) for tensor in graph.tensors]
    constants = {}
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is not None:
            if tensor.type not in _TYPES:
                raise NotSlimmableError(f"tensor {index} holds constants of type {tensor.type}")
            constants[index] = np.asarray(data).view(_TYPES[tensor.type]).reshape(shapes[index])
    return DenseGraph(
        operations=[_operation(model, graph, operator) for operator in graph.operators],
        shapes=shapes,
        constants=constants,
        inputs=tuple(int(i) for i in graph.inputs),
        outputs=tuple(int(i) for i in graph.outputs),
    )


def _operation(model: Any, graph: Any, operator: Any) -> Operation:
    code = model.operatorCodes[operator.opcodeIndex]
    kind = _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
    inputs = tuple(int(i) for i in operator.inputs)
    weights = graph.tensors[inputs[1]].name.decode(errors="replace") if kind in WEIGHTED else ""
    return Operation(
        kind=kind,
        layer=layer_name(weights),
        inputs=inputs,
        outputs=tuple(int(i) for i in operator.outputs),
        options=operator.builtinOptions,
    )
