"""Small TFLite files, made with the real converter in a process of its own (it prints a lot)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

CONVERT = """
import sys, onnx2tf
onnx2tf.convert(input_onnx_file_path=sys.argv[1], output_folder_path=sys.argv[2], non_verbose=True,
                tflite_backend="flatbuffer_direct")
"""


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions and a classifier; XNNPACK takes all of it."""
    return build(tmp_path_factory.mktemp("tiny"), "tiny", ["conv", "conv"])


@pytest.fixture(scope="session")
def wide_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, several times slower."""
    return build(tmp_path_factory.mktemp("wide"), "wide", ["conv", "conv"], channels=64)


@pytest.fixture(scope="session")
def split_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CumSum in its middle, which XNNPACK leaves to LiteRT: two partitions."""
    return build(tmp_path_factory.mktemp("split"), "split", ["conv", "cumsum", "conv"])


@pytest.fixture(scope="session")
def tail_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CumSum at its end: one partition, and still not all of it."""
    return build(tmp_path_factory.mktemp("tail"), "tail", ["conv"], tail=True)


def build(folder: Path, name: str, layers: list[str], channels: int = 8, size: int = 32, tail: bool = False) -> Path:
    """Convert a stack of layers on (1, 3, size, size), ending in ten logits (and a CumSum over them)."""
    random = np.random.default_rng(0)
    nodes, weights, last, width = [], [], "x", 3

    def weight(*shape: int) -> str:
        weights.append(
            numpy_helper.from_array((random.standard_normal(shape) * 0.1).astype(np.float32), f"w{len(weights)}")
        )
        return weights[-1].name

    def node(kind: str, inputs: list[str], **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    weights.append(numpy_helper.from_array(np.array(1, dtype=np.int64), "axis"))
    for layer in layers:
        if layer == "cumsum":
            last = node("CumSum", [last, "axis"])
        else:
            last = node("Conv", [last, weight(channels, width, 3, 3), weight(channels)], pads=[1, 1, 1, 1])
            last = node("Relu", [last])
            width = channels
    last = node("Flatten", [node("GlobalAveragePool", [last])])
    last = node("Gemm", [last, weight(10, width), weight(10)], transB=1)
    if tail:
        last = node("CumSum", [last, "axis"])
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx_path = folder / f"{name}.onnx"
    onnx.save(model, onnx_path)
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(onnx_path), str(folder)], capture_output=True, text=True, timeout=120
    )
    tflite = folder / f"{name}_float32.tflite"
    assert tflite.exists(), done.stderr[-2000:]
    return tflite
