"""Names of layers: from a model file's tensors, given to the operations of a profile where the two fit together."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.layers import name_layers
from device_bench.records import OpTime
from device_bench.tflite import Graph, Layer, layer_name, read_graph


def op(kind: str, name: str = "?") -> OpTime:
    return OpTime(name=name, type=kind, mean_ms=0.1, share=0.1)


def graph(*layers: tuple[str, str]) -> Graph:
    found = tuple(Layer.model_validate({"kind": kind, "name": name}) for kind, name in layers)
    return Graph(inputs=("x",), n_outputs=1, operations=9, layers=found)


NETWORK = graph(("matmul", "stem"), ("depthwise", "block.0"), ("matmul", "block.1"), ("matmul", "classifier"))
XNNPACK = (
    "Convert (NC)",
    "Convolution (NHWC, F32) IGEMM",
    "Convolution (NHWC, F32) DWConv",
    "Fully Connected (NC, F32) GEMM",
    "Add (ND)",
    "Static Reshape (NC)",
    "Fully Connected (NC, F32) GEMM",
)


def test_operations_of_xnnpack_are_called_as_the_layers_of_the_file():
    named = name_layers([op(kind) for kind in XNNPACK], NETWORK)
    assert [one.name for one in named] == [
        "input, then Convert (NC)",
        "stem",
        "block.0",
        "block.1",
        "block.1, then Add (ND)",
        "block.1, then Static Reshape (NC)",
        "classifier",
    ]


def test_so_are_tflites_own_operations_and_steps_of_the_runtime_keep_their_names():
    kinds = ["LiteRT::Run[buffer registration]", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "FULLY_CONNECTED"]
    named = name_layers([op(kind, "own") for kind in kinds], NETWORK)
    assert [one.name for one in named] == ["own", "stem", "block.0", "block.1", "classifier"]


@pytest.mark.parametrize(
    "kinds",
    [
        ["TfLiteXNNPackDelegate"],
        XNNPACK[1:4],  # the classifier is missing
        [*XNNPACK, "Convolution (NHWC, F32) IGEMM"],
        [XNNPACK[2], XNNPACK[1], *XNNPACK[3:]],  # another order
    ],
)
def test_a_profile_that_does_not_fit_the_file_stays_as_it_is(kinds):
    ops = tuple(op(kind, f"{kind}:0") for kind in kinds)
    assert name_layers(ops, NETWORK) == ops


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        ("/features/features.0/features.0.0/Conv_conv_filter", "features.0.0"),
        ("/features/features.2/conv/conv.1/conv.1.0/Conv_depthwise_filter", "features.2.conv.1.0"),
        ("/layer1/layer1.0/conv1/Conv_conv_filter", "layer1.0.conv1"),
        ("/conv1/Conv_conv_filter", "conv1"),
        ("/classifier/classifier.1/Gemm_fc_weights", "classifier.1"),
        ("/Conv_conv_filter", "/Conv_conv_filter"),
        ("MobilenetV1/Conv2d_0/weights", "MobilenetV1/Conv2d_0/weights"),
        ("w0", "w0"),
        ("", ""),
    ],
)
def test_a_layers_name_is_its_modules_where_the_exporter_kept_it(tensor: str, expected: str):
    assert layer_name(tensor) == expected


@given(st.text(max_size=60))
def test_any_tensor_name_gives_a_name(tensor: str):
    assert layer_name(tensor) or not tensor


def test_layers_are_read_from_a_file_in_order(tiny_tflite: Path):
    assert [layer.kind for layer in read_graph(tiny_tflite).layers] == ["matmul"] * 3
