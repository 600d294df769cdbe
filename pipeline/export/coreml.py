"""What a worker does with Core ML files; it loads torch and coremltools, which must not see tensorflow (see worker)."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.proto import Model_pb2
from numpy.typing import NDArray

INPUT_NAME = "input"
OUTPUT_NAME = "logits"
PALETTE_BITS = 6
SPARSE_FROM = 0.1
"""Share of zeros from which on a weight is stored sparse: a bit for each place, and 16 for each that is not zero."""

_FP16_NAME = "fp16.mlpackage"


def convert(network: bytes, input_shape: tuple[int, int, int]) -> None:
    """TorchScript to an ML Program in fp16, which stays in the worker's folder for `package` to give out.

    It takes and gives float32 arrays, like the TFLite files, but its input is (1, C, H, W). iOS 16 is the first that
    runs compressed weights; asking for no more leaves no phone out.
    """
    traced = torch.jit.load(io.BytesIO(network))  # type: ignore[no-untyped-call]
    model = ct.convert(
        traced,
        inputs=[ct.TensorType(name=INPUT_NAME, shape=(1, *input_shape), dtype=np.float32)],
        outputs=[ct.TensorType(name=OUTPUT_NAME, dtype=np.float32)],
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT16,
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    shutil.rmtree(_FP16_NAME, ignore_errors=True)
    model.save(_FP16_NAME)


def package(precision: str) -> str:
    """The path of the last converted program as fp16, int8 (linear 8-bit weights), palette6 (6-bit palettes) or sparse.

    fp16-sparse leaves out what is zero already: its threshold is far below the smallest value of fp16.
    """
    path = Path(f"{precision}.mlpackage").absolute()
    if precision != "fp16":
        np.random.seed(0)  # k-means chooses its first centres at random
        shutil.rmtree(path, ignore_errors=True)
        _compress(ct.models.MLModel(_FP16_NAME, skip_model_load=True), precision).save(str(path))
    _make_repeatable(path)
    return str(path)


def _compress(model: Any, precision: str) -> Any:
    import coremltools.optimize.coreml as optimize

    if precision == "int8":
        linear = optimize.OpLinearQuantizerConfig(mode="linear_symmetric")
        return optimize.linear_quantize_weights(model, optimize.OptimizationConfig(global_config=linear))
    if precision == "fp16-sparse":
        zeros = optimize.OpThresholdPrunerConfig(threshold=1e-12, minimum_sparsity_percentile=SPARSE_FROM)
        return optimize.prune_weights(model, optimize.OptimizationConfig(global_config=zeros))
    palette = optimize.OpPalettizerConfig(mode="kmeans", nbits=PALETTE_BITS)
    return optimize.palettize_weights(model, optimize.OptimizationConfig(global_config=palette))


def _make_repeatable(path: Path) -> None:
    """Equal programs become equal files: no random identifiers in the manifest, maps in the order of their keys."""
    manifest = path / "Manifest.json"
    text = manifest.read_text()
    for identifier, item in json.loads(text)["itemInfoEntries"].items():
        text = text.replace(identifier, str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])))
    manifest.write_text(json.dumps(json.loads(text), indent=4, sort_keys=True) + "\n")
    (program,) = path.rglob("model.mlmodel")
    spec = Model_pb2.Model.FromString(program.read_bytes())
    program.write_bytes(spec.SerializeToString(deterministic=True))


def run(path: str, images: NDArray[np.float32]) -> tuple[NDArray[np.float32] | None, str | None]:
    """(logits, why there are none): by Core ML on macOS, elsewhere by torch. (N, C, H, W) -> (N, classes)"""
    written_ns = os.stat(path).st_mtime_ns
    if sys.platform == "darwin":
        model = _load_model(path, written_ns)
        rows = [model.predict({INPUT_NAME: image[None]})[OUTPUT_NAME] for image in images]
        return np.concatenate(rows).astype(np.float32), None
    from pipeline.export.mil_torch import UnknownOperationError

    try:
        return _load_program(path, written_ns)(torch.from_numpy(images)).numpy(), None
    except UnknownOperationError as error:
        return None, str(error)


@lru_cache(maxsize=1)
def _load_model(path: str, written_ns: int) -> Any:
    return ct.models.MLModel(path)


@lru_cache(maxsize=1)
def _load_program(path: str, written_ns: int) -> Any:
    from pipeline.export.mil_torch import MilProgram

    return MilProgram(Path(path))
