"""What a TFLite file says of itself: its inputs, outputs and operations, read without running it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from device_bench.errors import UsageError
from device_bench.records import Record

LayerKind = Literal["matmul", "depthwise"]

_TENSOR = re.compile(r"(_conv|_depthwise|_fc)?_(filter|weights)$")


class Layer(Record):
    """An operation with weights; `name` is its module's where the exporter kept it, else that of its weights."""

    kind: LayerKind
    name: str


class Graph(Record):
    """The main graph of a TFLite file."""

    inputs: tuple[str, ...]
    """Names, in the order in which the network takes them."""
    n_outputs: int
    operations: int
    layers: tuple[Layer, ...] = ()
    """In the order in which they run."""
    sparse_weights: int = 0
    """Weight tensors that are stored without their zeros, and unpacked by DENSIFY where nothing better is done."""


def check_whole(path: Path) -> None:
    """Refuse a file that ends too early: LiteRT would read past its end, and be killed for it.

    Raises:
        UsageError: the file cannot be read, or is no whole TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(path.read_bytes(), 0)
        # Each of these raises where what it asks for does not lie in the file.
        for i in range(model.BuffersLength()):
            model.Buffers(i).DataAsNumpy()
        graph = model.Subgraphs(0)
        for i in range(graph.TensorsLength()):
            graph.Tensors(i).ShapeAsNumpy()
        for i in range(graph.OperatorsLength()):
            graph.Operators(i).OutputsAsNumpy()
        for i in range(model.OperatorCodesLength()):
            model.OperatorCodes(i).BuiltinCode()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a .tflite file") from error
    except Exception as error:  # flatbuffers raises whatever its arithmetic meets in a damaged file
        raise UsageError(f"{path}: not a whole TFLite file; export the model again") from error


def read_graph(path: Path) -> Graph:
    """Read a file's main graph.

    Raises:
        UsageError: the file cannot be read, or is none.
    """
    # The flatbuffer's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs), as LiteRT ships it.
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(path.read_bytes(), 0)
        graph = model.Subgraphs(0)
        return Graph(
            inputs=tuple(graph.Tensors(graph.Inputs(i)).Name().decode() for i in range(graph.InputsLength())),
            n_outputs=graph.OutputsLength(),
            operations=graph.OperatorsLength(),
            layers=_layers(model, graph, schema.BuiltinOperator),
            sparse_weights=sum(graph.Tensors(i).Sparsity() is not None for i in range(graph.TensorsLength())),
        )
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a .tflite file") from error
    except Exception as error:  # flatbuffers raises whatever its arithmetic meets in a damaged file
        raise UsageError(f"{path}: not a whole TFLite file; export the model again") from error


def _layers(model: Any, graph: Any, codes: Any) -> tuple[Layer, ...]:
    kinds: dict[int, LayerKind] = {
        codes.CONV_2D: "matmul",
        codes.FULLY_CONNECTED: "matmul",
        codes.DEPTHWISE_CONV_2D: "depthwise",
    }
    layers = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Files of before 2020 have the code in a field of one byte.
        kind = kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        if kind is not None:
            weights = graph.Tensors(operator.Inputs(1)).Name().decode(errors="replace")
            layers.append(Layer(kind=kind, name=layer_name(weights)))
    return tuple(layers)


def layer_name(tensor: str) -> str:
    """The module's path in a tensor's name, `/features/features.2/conv/conv.1/Conv_conv_filter`: features.2.conv.1.

    ONNX's names repeat each parent, and end in the operation; a name of another form stays as it is.
    """
    parts = _TENSOR.sub("", tensor).split("/")[1:]
    own = [part for part, inner in pairwise(parts) if part and not inner.startswith(f"{part}.")]
    return ".".join(own) if tensor.startswith("/") and own else tensor
