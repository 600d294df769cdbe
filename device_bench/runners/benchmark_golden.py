"""Golden inputs and outputs for `benchmark_model`: files of raw little-endian values, one per input.

The tool reads them with --input_layer_value_files and writes all outputs one after another with --output_filepath
(tflite/tools/benchmark/benchmark_tflite_model.cc; LiteRT 2's tool has neither and takes random inputs).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_bench.device import Missing
from device_bench.errors import UsageError
from device_bench.records import Record
from device_bench.sidecar import Golden, TensorData
from device_bench.tflite import Graph

OUTPUT_FLAG = "--output_filepath"


class Example(Record):
    inputs: tuple[TensorData, ...]
    outputs: tuple[TensorData, ...]


def examples(golden: Golden, graph: Graph, model: Path) -> list[Example]:
    """With k inputs, each k golden arrays in a row are one example.

    Raises:
        UsageError: the arrays do not make whole examples of this network.
    """
    n_in, n_out = len(graph.inputs), graph.n_outputs
    count = len(golden.inputs) // n_in if n_in else 0
    if not count or len(golden.inputs) != count * n_in or len(golden.outputs) != count * n_out:
        raise UsageError(
            f"{model}: its golden arrays ({len(golden.inputs)} in, {len(golden.outputs)} out) do not make whole "
            f"examples: {n_in} in and {n_out} out make one; export the model again"
        )
    return [
        Example(inputs=golden.inputs[i * n_in : (i + 1) * n_in], outputs=golden.outputs[i * n_out : (i + 1) * n_out])
        for i in range(count)
    ]


def raw(tensor: TensorData) -> bytes:
    return base64.b64decode(tensor.data)


def input_flags(graph: Graph, example: Example, files: Sequence[str]) -> list[str] | Missing:
    """The flags that make the tool read an example from these files on the device.

    A name that the tool's syntax cannot carry is replaced: it goes by position, and only warns of another name.
    """
    if any(not tensor.shape for tensor in example.inputs):
        return Missing(reason="benchmark_model takes no inputs without dimensions from files")
    plain = all(re.fullmatch(r"[\w/.;-]+", name) for name in graph.inputs) and len(set(graph.inputs)) == len(
        graph.inputs
    )
    names = graph.inputs if plain else tuple(f"input{i}" for i in range(len(graph.inputs)))
    shapes = [",".join(str(side) for side in tensor.shape) for tensor in example.inputs]
    return [
        f"--input_layer={','.join(names)}",
        f"--input_layer_shape={':'.join(shapes)}",
        f"--input_layer_value_files={','.join(f'{name}:{file}' for name, file in zip(names, files, strict=True))}",
    ]


def outputs_error(written: bytes, expected: Sequence[TensorData]) -> float:
    """Largest relative error over an example's outputs; infinite where what was written is of another size."""
    sizes = [len(raw(tensor)) for tensor in expected]
    if len(written) != sum(sizes):
        return float("inf")
    worst, start = 0.0, 0
    for tensor, size in zip(expected, sizes, strict=True):
        values = np.frombuffer(written[start : start + size], dtype=np.dtype(tensor.dtype).newbyteorder("<"))
        worst = max(worst, relative_error(values, tensor.to_array().reshape(-1)))
        start += size
    return worst


def relative_error(actual: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    """Largest absolute difference over the largest absolute output, as `litert_runner.py` has it; infinite for NaN."""
    if not expected.size:
        return 0.0
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
    scale = np.abs(expected.astype(np.float64)).max()
    error = float(difference / scale) if scale else float(difference)
    return error if np.isfinite(error) else float("inf")
