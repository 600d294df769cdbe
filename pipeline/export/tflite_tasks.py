"""What a worker does with TFLite files; runs without torch and without tensorflow."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import onnx
from onnx2tf.tflite_builder import export_tflite_model_flatbuffer_direct

from pipeline.export.onnx import pad_pools_with_zeros


def convert(model: bytes, path: str) -> None:
    """ONNX -> fp32 TFLite; the input's layout becomes (1, H, W, C).

    onnx2tf's own `convert` also simplifies the graph (torch's exporter left nothing to simplify) and runs its shape
    inference; its backend alone takes half the time and gives the same file.
    """
    graph = onnx.load_model_from_string(model)
    pad_pools_with_zeros(graph)
    with tempfile.TemporaryDirectory() as folder:
        export_tflite_model_flatbuffer_direct(
            onnx_graph=graph,
            output_folder_path=folder,
            output_file_name="model",
            flatbuffer_direct_show_progress=False,
        )
        put(Path(folder, "model_float32.tflite"), Path(path))


def put(source: Path, path: Path) -> None:
    """Copy a finished file to where it belongs; it appears there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        shutil.copyfile(source, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
