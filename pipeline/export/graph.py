"""Torch network -> ONNX or TorchScript, and what is done to an ONNX graph before it is converted.

The torch side is imported where it is used, because the workers that convert ONNX files run without torch.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

INPUT_NAME = "input"
OUTPUT_NAME = "logits"
_OPSET = 17


def to_onnx(network: nn.Module, input_shape: tuple[int, int, int]) -> bytes:
    """The network as an ONNX file: input (1, C, H, W) float32, output logits (1, classes), batch norms folded in.

    Raises:
        ExportError: torch cannot export it.
    """
    import torch

    example = torch.zeros(1, *input_shape)
    file = io.BytesIO()
    try:
        # Where it fails, the exporter prints the whole graph to stdout, which carries results alone.
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            # The torch.export-based exporter takes 2.9 s for MobileNetV2 where this one takes 0.2 s.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (example,),
                file,  # type: ignore[arg-type] # the exporter takes a file object too
                dynamo=False,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                opset_version=_OPSET,
            )
    except Exception as error:  # the exporter raises its own, torch's and the network's errors
        raise ExportError(f"onnx export failed: {type(error).__name__}: {_first_lines(error)}") from error
    return file.getvalue()


def to_torchscript(network: nn.Module, input_shape: tuple[int, int, int]) -> bytes:
    """The traced network as a file: the process that converts it needs none of the user's code.

    Raises:
        ExportError: torch cannot trace it.
    """
    import torch

    file = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the trace is compared with the network on real images afterwards
            traced = torch.jit.trace(network, torch.zeros(1, *input_shape), check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, file)
    except Exception as error:  # the network's own errors
        raise ExportError(f"torch tracing failed: {type(error).__name__}: {_first_lines(error)}") from error
    return file.getvalue()


def _first_lines(error: Exception) -> str:
    return "\n  ".join([line for line in str(error).splitlines() if line.strip()][:6])


def run_onnx(model: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits that ONNX Runtime computes, image by image. (N, C, H, W) -> (N, classes)"""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    logits = [session.run([OUTPUT_NAME], {INPUT_NAME: image[None]})[0] for image in images]
    result: NDArray[np.float32] = np.concatenate(logits).astype(np.float32)
    return result


def pad_pools_with_zeros(model: Any) -> None:
    """Split the padding off max pools that follow a ReLU, in place: a PAD with zeros, then the pool without padding.

    A pool's own padding counts as minus infinity and becomes a PADV2, which XNNPACK leaves to the interpreter: the
    network then runs in two partitions (ResNets do). No input is below zero here, so zeros give the same maximum.
    """
    from onnx import helper

    graph = model.graph
    non_negative = _never_below_zero(graph)
    for index in reversed(range(len(graph.node))):
        pool = graph.node[index]
        pads = next((list(a.ints) for a in pool.attribute if a.name == "pads"), [])
        if pool.op_type != "MaxPool" or pool.input[0] not in non_negative or not any(pads):
            continue
        rank = len(pads) // 2
        padded, amounts = f"{pool.output[0]}_padded", f"{pool.output[0]}_pads"
        full = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
        graph.initializer.append(helper.make_tensor(amounts, 7, [len(full)], full))  # 7 is int64
        graph.node.insert(index, helper.make_node("Pad", [pool.input[0], amounts], [padded], name=padded))
        pool.input[0] = padded
        kept = [a for a in pool.attribute if a.name != "pads"]
        del pool.attribute[:]
        pool.attribute.extend(kept)


def convolve_batchnorms(model: Any) -> None:
    """Turn batch norms that follow no convolution into depthwise 1x1 convolutions, in place.

    onnx2tf writes such a batch norm as MUL and ADD, and those after a residual sum with a TRANSPOSE on either side.
    The convolution is one operation, in the network's layout, and int8 has it too.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:  # torch's exporter writes equal constants once, and names the others after it
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    images = {info.name for info in graph.value_info if len(info.type.tensor_type.shape.dim) == 4}
    for node in graph.node:
        if node.op_type != "BatchNormalization" or node.input[0] not in images:
            continue
        if not all(name in constants for name in node.input[1:]):
            continue
        scale, shift, mean, var = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(var + epsilon)
        names = f"{node.output[0]}_factor", f"{node.output[0]}_shift"
        values = factor.reshape(-1, 1, 1, 1), shift - mean * factor
        for name, value in zip(names, values, strict=True):
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        convolution = helper.make_node(
            "Conv", [node.input[0], *names], node.output, name=node.name, group=len(factor), kernel_shape=[1, 1]
        )
        node.CopyFrom(convolution)


def _never_below_zero(graph: Any) -> set[str]:
    """Names of tensors that ReLU and its relatives give."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
    found = set()
    for node in graph.node:
        low = constants.get(node.input[1]) if node.op_type == "Clip" and len(node.input) > 1 else None
        clipped = low is not None and numpy_helper.to_array(low).min() >= 0  # ReLU6 is exported as a clip
        if node.op_type in {"Relu", "Sigmoid"} or clipped:
            found.update(node.output)
    return found
