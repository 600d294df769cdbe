"""Single layers: what is timed covers the network, and what lies between is read off the staircase."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export.single_layer import single_layer
from pipeline.pruning.costs import LayerKind, Size
from pipeline.search.layer_times import LayerCurve, LayerKey, LayerPoint, LayerTimes, layer_grid
from pipeline.search.staircase import right_edges, staircases, steps
from tests.pipeline.search.tables import GRID, layer_cost, shape_of, timed

POINTWISE = LayerKey(kind="dense", kernel_size=(1, 1), in_size=(8, 8), out_size=(8, 8))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "efficientnet_b2"])
def test_every_layer_of_a_network_is_timed_up_to_its_width(name: str) -> None:
    shape = shape_of(name)
    points = layer_grid(shape, 8)
    assert len(points) == len({(point.key, point.in_channels, point.out_channels) for point in points}) < 700
    for layer in shape.layers:
        mine = [point for point in points if point.key == LayerKey.of(layer)]
        assert max(point.out_channels for point in mine) >= layer.out_channels
        assert layer.kind == "depthwise" or max(point.in_channels for point in mine) >= layer.in_channels


@given(inputs=st.integers(1, 384), outputs=st.integers(1, 384), kind=st.sampled_from(["dense", "depthwise"]))
def test_a_curve_gives_the_staircase_back(inputs: int, outputs: int, kind: LayerKind) -> None:
    key = POINTWISE.model_copy(update={"kind": kind})
    counts = [*range(8, 129, 8), *range(160, 385, 32)]
    if kind == "depthwise":
        points = [LayerPoint(key=key, in_channels=count, out_channels=count) for count in counts]
    else:
        pairs = [(192, count) for count in counts] + [(i, o) for i in (48, 384) for o in (8, 64, 160, 384)]
        points = [LayerPoint(key=key, in_channels=i, out_channels=o) for i, o in pairs]
    curve = LayerCurve(timed(points))
    assert curve.tile == 16
    expected = layer_cost(LayerPoint(key=key, in_channels=inputs, out_channels=outputs))
    assert curve.ratio(inputs, outputs) == pytest.approx(expected, rel=0.03)


def test_edges_are_where_the_cost_rises_next() -> None:
    counts = [8, 16, 24, 32, 40, 48]
    assert right_edges(counts, [1.0, 1.0, 2.0, 2.01, 3.0, 3.0]) == (16, 32, 48)
    assert right_edges(counts, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == tuple(counts)  # no steps: every count is one
    assert right_edges(counts, [1.0, 1.0, 3.0, 2.5, 3.0, 3.5]) == (16, 32, 40, 48)  # 24 cost more than 32
    assert right_edges([8], [1.0]) == (8,)


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=20))
def test_edges_are_some_of_the_counts_and_always_the_last(costs: list[float]) -> None:
    counts = [8 * (i + 1) for i in range(len(costs))]
    edges = right_edges(counts, costs)
    assert edges[-1] == counts[-1] and set(edges) <= set(counts) and list(edges) == sorted(edges)


def test_a_groups_steps_are_those_of_the_layers_that_write_it() -> None:
    shape = shape_of()
    edges = steps(staircases(shape, LayerTimes(shape, timed(layer_grid(shape, 8))), GRID))
    assert edges.keys() == GRID.keys()
    for name, found in edges.items():
        assert all(count % 16 == 0 or count == GRID[name][-1] for count in found), (name, found)
        assert len(found) == len({-(-count // 16) for count in GRID[name]})


@pytest.mark.parametrize(
    ("kind", "kernel", "in_size", "out_size", "channels", "output"),
    [
        ("dense", (3, 3), (7, 7), (4, 4), (5, 6), (1, 4, 4, 6)),
        ("dense", (1, 1), (8, 8), (8, 8), (3, 17), (1, 8, 8, 17)),
        ("depthwise", (5, 3), (8, 6), (4, 3), (9, 9), (1, 4, 3, 9)),
        ("linear", (1, 1), (1, 1), (1, 1), (5, 3), (1, 3)),
    ],
)
def test_a_single_layer_runs_whole_on_the_delegate(
    tmp_path: Path,
    kind: LayerKind,
    kernel: Size,
    in_size: Size,
    out_size: Size,
    channels: tuple[int, int],
    output: tuple[int, ...],
) -> None:
    file = tmp_path / "layer.tflite"
    file.write_bytes(
        single_layer(
            kind,
            kernel_size=kernel,
            in_size=in_size,
            out_size=out_size,
            in_channels=channels[0],
            out_channels=channels[1],
        )
    )
    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], np.ones(details["shape"], np.float32))
    interpreter.invoke()
    logits = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert logits.shape == output and np.isfinite(logits).all() and logits.any()
    assert [op["op_name"] for op in interpreter._get_ops_details()][-1] == "DELEGATE"
