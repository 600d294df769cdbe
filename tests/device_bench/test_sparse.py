"""What a profile says about sparse kernels, and who is asked for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

import device_bench
from device_bench.device import Missing
from device_bench.records import BenchSpec, OpTime
from device_bench.sparse import sparse_kernels
from device_bench.tflite import read_graph

QUICK = BenchSpec(warmup_runs=0, timed_runs=2, min_seconds=0.0)


def ops(*types: str) -> list[OpTime]:
    return [OpTime(name=kind, type=kind, mean_ms=0.1, share=1 / len(types)) for kind in types]


@pytest.fixture(scope="module")
def sparse_tflite(tiny_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be run: the classifier's weights say that they are stored by row and column."""
    model = flatbuffer_utils.read_model(str(tiny_tflite))
    (graph,) = model.subgraphs
    (weights,) = (tensor for tensor in graph.tensors if list(tensor.shape) == [10, 8])
    dense = schema.DimensionMetadataT(format=schema.DimensionType.DENSE, denseSize=10)
    columns = schema.DimensionMetadataT(format=schema.DimensionType.SPARSE_CSR)
    weights.sparsity = schema.SparsityParametersT(
        traversalOrder=np.array([0, 1], np.int32), dimMetadata=[dense, columns]
    )
    path = tmp_path_factory.mktemp("sparse") / "sparse.tflite"
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return path


@pytest.mark.parametrize(
    ("types", "kernels"),
    [
        (("Convolution (NHWC, PF32) IGEMM", "Convolution (NHWC, F32) DWConv", "Fully Connected (NC, F32) GEMM"), 0),
        (
            (
                *("Convolution (NCHW, F32) Conv2D HWC2CHW", "Convolution (NCHW, F32) DWConv"),
                *("Convolution (NCHW, F32) SPMM", "Convolution (NCHW, F16) SPMM", "Fully Connected (NC, F32) GEMM"),
            ),
            2,
        ),
        (("Convolution (NCHW, F32)", "Convolution (NCHW, F32)", "Convolution (NHWC, F32)"), 2),  # an old build
    ],
)
def test_sparse_kernels_are_counted_by_their_names(types: tuple[str, ...], kernels: int) -> None:
    assert sparse_kernels(ops(*types)) == kernels


def test_a_profile_that_cannot_tell_says_so() -> None:
    assert sparse_kernels(Missing(reason="why")) == Missing(reason="why")
    assert isinstance(sparse_kernels(ops("TfLiteXNNPackDelegate")), Missing)


def test_a_file_says_how_many_weights_lack_their_zeros(tiny_tflite: Path, sparse_tflite: Path) -> None:
    assert read_graph(tiny_tflite).sparse_weights == 0
    assert read_graph(sparse_tflite).sparse_weights == 1


def test_where_no_profile_is_to_be_had_the_reason_stands_in_its_place(tiny_tflite: Path, sparse_tflite: Path) -> None:
    dense, sparse = device_bench.benchmark_many([tiny_tflite, sparse_tflite], "fake://lab", QUICK)
    assert dense.sparse is None and dense.missing["ops"] == "not asked for"
    assert sparse.sparse is not None and (sparse.sparse.stored, sparse.sparse.kernels) == (1, None)
    assert sparse.missing["sparse.kernels"] == sparse.missing["ops"] == "the runner gives no times of single operations"
