"""One convolution or linear layer as a TFLite file of its own, to be timed by itself.

Written with the schema's own classes (https://ai.google.dev/edge/litert: schema.fbs), since exporting a torch layer
takes a second, and a profile wants hundreds of them. The weights are random: what a layer costs does not depend on
them.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from pipeline.pruning.costs import LayerKind, Size

_VERSION = 3
_IDENTIFIER = b"TFL3"


def single_layer(
    kind: LayerKind, *, kernel_size: Size, in_size: Size, out_size: Size, in_channels: int, out_channels: int
) -> bytes:
    """A TFLite file with one layer: (1, H, W, C_in) -> (1, H', W', C_out), or (1, C_in) -> (1, C_out).

    Padding is SAME, and the stride what comes nearest to taking the one size to the other; LiteRT finds the output's
    true size itself.
    """
    graph = schema.SubGraphT(name=b"main", tensors=[])
    model = schema.ModelT(version=_VERSION, description=b"pocketprune", buffers=[schema.BufferT()], subgraphs=[graph])
    rng = np.random.default_rng(0)
    filters = {
        "dense": (out_channels, *kernel_size, in_channels),
        "depthwise": (1, *kernel_size, out_channels),
        "linear": (out_channels, in_channels),
    }[kind]
    channels = out_channels if kind == "depthwise" else in_channels
    inputs = (1, channels) if kind == "linear" else (1, *in_size, channels)
    outputs = (1, out_channels) if kind == "linear" else (1, *out_size, out_channels)
    weights = rng.standard_normal(filters, dtype=np.float32) * 0.1
    arrays = [inputs, weights, np.zeros(out_channels, np.float32), outputs]
    x, w, bias, y = (_tensor(model, graph, array) for array in arrays)
    code, options_type, options = _operation(kind, in_size, out_size)
    model.operatorCodes = [schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=1)]
    graph.operators = [
        schema.OperatorT(
            opcodeIndex=0, inputs=[x, w, bias], outputs=[y], builtinOptionsType=options_type, builtinOptions=options
        )
    ]
    graph.inputs, graph.outputs = [x], [y]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _tensor(model: Any, graph: Any, content: NDArray[np.float32] | tuple[int, ...]) -> int:
    """Add a tensor, constant if an array is given, and return its index."""
    buffer, shape = 0, content
    if isinstance(content, np.ndarray):
        model.buffers.append(schema.BufferT(data=np.frombuffer(content.tobytes(), np.uint8)))
        buffer, shape = len(model.buffers) - 1, content.shape
    name = f"tensor_{len(graph.tensors)}".encode()
    kind = schema.TensorType.FLOAT32
    graph.tensors.append(schema.TensorT(shape=np.array(shape, np.int32), type=kind, buffer=buffer, name=name))
    return len(graph.tensors) - 1


def _operation(kind: LayerKind, in_size: Size, out_size: Size) -> tuple[int, int, Any]:
    """Code, type of the options, options."""
    codes, types = schema.BuiltinOperator, schema.BuiltinOptions
    if kind == "linear":
        return codes.FULLY_CONNECTED, types.FullyConnectedOptions, schema.FullyConnectedOptionsT()
    options = schema.DepthwiseConv2DOptionsT(depthMultiplier=1) if kind == "depthwise" else schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideH, options.strideW = (round(big / small) for big, small in zip(in_size, out_size, strict=True))
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    if kind == "depthwise":
        return codes.DEPTHWISE_CONV_2D, types.DepthwiseConv2DOptions, options
    return codes.CONV_2D, types.Conv2DOptions, options
