"""What a worker does with TFLite files, in and out as bytes; runs without torch and without tensorflow.

Every precision takes the same float32 images (1, H, W, C) and gives float32 logits (1, classes), so that one file can
replace another. For INT8 that adds a QUANTIZE and a DEQUANTIZE, which XNNPACK takes as well (MobileNetV2 at 64 px:
0.30 ms with and without them).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from device_bench.runners.litert_runner import delegate_use
from pipeline.export.graph import INPUT_NAME, convolve_batchnorms, pad_pools_with_zeros

THREADS = 2

_SIGNATURE = "serving_default"
_DEQUANTIZE_F16_VERSION = 3
_WITH_WEIGHTS = {
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
}


def convert(model: bytes) -> bytes:
    """ONNX to fp32 TFLite.

    onnx2tf's own `convert` also simplifies the graph, although torch's exporter left nothing to simplify, and takes
    twice as long as its backend alone for the same file.
    """
    from onnx2tf.tflite_builder import export_tflite_model_flatbuffer_direct

    # Without the shapes onnx2tf takes the mean over two axes for a vector, and refuses the linear layer behind it.
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model))
    pad_pools_with_zeros(graph)
    convolve_batchnorms(graph)
    folder = _scratch()
    export_tflite_model_flatbuffer_direct(
        onnx_graph=graph, output_folder_path=folder, output_file_name="model", flatbuffer_direct_show_progress=False
    )
    return Path(folder, "model_float32.tflite").read_bytes()


@cache
def _scratch() -> str:
    """One folder for as long as the process lasts: onnx2tf compiles the schema once per folder, in 0.2 s."""
    folder = tempfile.mkdtemp(prefix="pocketprune-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def to_fp16(model: bytes) -> bytes:
    """fp32 TFLite to fp16: weights and biases are stored in half precision behind DEQUANTIZE operations.

    XNNPACK folds those away. With biases left in float32 (as ai-edge-quantizer does) it takes the network in 16
    pieces, five times slower.
    """
    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    codes = [flatbuffer_utils.get_builtin_code_from_operator_code(code) for code in parsed.operatorCodes]
    dequantize = schema.OperatorCodeT(
        builtinCode=schema.BuiltinOperator.DEQUANTIZE,
        deprecatedBuiltinCode=schema.BuiltinOperator.DEQUANTIZE,
        version=_DEQUANTIZE_F16_VERSION,
    )
    parsed.operatorCodes.append(dequantize)
    for graph in parsed.subgraphs:
        added = []
        for index in _float_weights(parsed, graph, codes):
            tensor = graph.tensors[index]
            half = np.frombuffer(bytes(parsed.buffers[tensor.buffer].data), np.float32).astype(np.float16)
            parsed.buffers.append(schema.BufferT(data=np.frombuffer(half.tobytes(), np.uint8)))
            stored = schema.TensorT(
                shape=tensor.shape,
                type=schema.TensorType.FLOAT16,
                buffer=len(parsed.buffers) - 1,
                name=tensor.name + b"_fp16",
            )
            graph.tensors.append(stored)
            tensor.buffer = 0  # the empty buffer: the tensor is computed now
            added.append(
                schema.OperatorT(
                    opcodeIndex=len(parsed.operatorCodes) - 1,
                    inputs=np.array([len(graph.tensors) - 1], np.int32),
                    outputs=np.array([index], np.int32),
                )
            )
        graph.operators = [*added, *graph.operators]
    _drop_unused_data(parsed)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def _float_weights(parsed: Any, graph: Any, codes: list[int]) -> list[int]:
    """Constant float32 tensors that layers with weights take as their weight or bias."""
    found: dict[int, None] = {}
    for operator in graph.operators:
        if codes[operator.opcodeIndex] not in _WITH_WEIGHTS:
            continue
        for index in (int(i) for i in operator.inputs[1:3]):
            tensor = graph.tensors[index]
            constant = index >= 0 and parsed.buffers[tensor.buffer].data is not None
            if constant and tensor.type == schema.TensorType.FLOAT32:
                found[index] = None
    return list(found)


def _drop_unused_data(parsed: Any) -> None:
    used = {tensor.buffer for graph in parsed.subgraphs for tensor in graph.tensors}
    used |= {metadata.buffer for metadata in parsed.metadata or ()}
    for index, buffer in enumerate(parsed.buffers):
        if index not in used:
            buffer.data = None


def to_int8(model: bytes, images: NDArray[np.float32]) -> bytes:
    """fp32 TFLite to static INT8; ranges of activations come from `images` (N, H, W, C)."""
    from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.utils.calibration_utils import min_max_update

    worker = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    # PADV2 pads with minus infinity (see `pad_pools_with_zeros`), which int8 has not; the quantizer breaks on it.
    for name in (TFLOperationName.INPUT, TFLOperationName.OUTPUT, TFLOperationName.PADV2):
        worker.update_quantization_recipe(".*", name, algorithm_key=AlgorithmName.NO_QUANTIZE)
    # The widest range over the images. Quantizer.calibrate would average them, which cuts off half of the images.
    ranges = calibrator.Calibrator(model, num_threads=THREADS, qsv_update_func=min_max_update)
    steps = recipe_manager.RecipeManager()
    steps.load_quantization_recipe(worker.get_quantization_recipe())
    ranges.calibrate({_SIGNATURE: [{INPUT_NAME: image[None]} for image in images]}, steps)
    return bytes(worker.quantize(ranges.get_model_qsvs()).quantized_model)


def to_dynamic(model: bytes) -> bytes:
    """fp32 TFLite to dynamic range: int8 weights, activations quantized as they come."""
    from ai_edge_quantizer import quantizer, recipe

    return bytes(quantizer.Quantizer(model, recipe.dynamic_wi8_afp32()).quantize().quantized_model)


def run(path: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits that the file computes, one image at a time as on a phone. (N, H, W, C) -> (N, classes)"""
    interpreter = _loaded(path)
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    logits = []
    for image in images:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        logits.append(interpreter.get_tensor(target))
    return np.concatenate(logits)


def delegation(path: str) -> str | None:
    """Why the file does not run in one piece on XNNPACK; None where it does."""
    use, missing = delegate_use(_loaded(path))
    if use is None:
        return f"not checked: {missing['delegate']}"
    outside = use["nodes_total"] - use["nodes_delegated"]
    if use["partitions"] == 1 and outside == 0:
        return None
    return (
        f"partially delegated: {use['partitions']} partitions, {outside} of {use['nodes_total']} operations outside; "
        "it runs slower than it could"
    )


def _loaded(path: str) -> Interpreter:
    return _load(path, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=1)
def _load(path: str, written_ns: int) -> Interpreter:
    interpreter = Interpreter(path, num_threads=THREADS)
    interpreter.allocate_tensors()
    return interpreter
