"""A TFLite file with a sidecar that holds what the file computes on this machine."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from device_bench.sidecar import Golden, Sidecar, TensorData, sidecar_path


def with_golden(model: Path, target: Path, examples: int = 2) -> Path:
    """Copy the model and write its sidecar; returns the copy."""
    shutil.copyfile(model, target)
    interpreter = Interpreter(model_path=str(target), num_threads=1)
    interpreter.allocate_tensors()
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    random = np.random.default_rng(0)
    inputs, outputs = [], []
    for _ in range(examples):
        image = random.standard_normal(entry["shape"]).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], image)
        interpreter.invoke()
        inputs.append(TensorData.from_array(image))
        outputs.append(TensorData.from_array(interpreter.get_tensor(end["index"])))
    sidecar = Sidecar(
        sha256=hashlib.sha256(target.read_bytes()).hexdigest(),
        format="tflite",
        precision="fp32",
        accuracy=None,
        preprocessing={},
        parity={},
        golden=Golden(inputs=tuple(inputs), outputs=tuple(outputs), max_rel_error=1e-4),
    )
    sidecar_path(target).write_text(sidecar.model_dump_json())
    return target
