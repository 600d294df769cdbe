"""A latency table of MobileNetV2 on a device whose costs are known, since they are made up."""

from collections.abc import Mapping, Sequence

import numpy as np

from device_bench.records import BenchSpec, DeviceInfo, RuntimeInfo
from pipeline.config import PruningSection
from pipeline.pruning.costs import NetworkShape, trace_shape
from pipeline.pruning.groups import keep_values, prunable
from pipeline.search.latency_model import EstimatorName, Features, TablePoint
from pipeline.search.latency_table import LatencyTable
from pipeline.search.layer_times import LayerPoint, LayerTime
from pipeline.search.uniform import round_grid
from tests.pipeline.pruning.conftest import SHAPE, dense, dense_groups

SETTINGS = PruningSection()
GROUPS = prunable(dense_groups("mobilenet_v2"))
GRID = round_grid(GROUPS, SETTINGS)
DEVICE = DeviceInfo(id="d", kind="fake", model="m", os="o", abi="a")
RUNTIME = RuntimeInfo(name="litert", version="1", runner="r")
TILE = 16


def shape_of(name: str = "mobilenet_v2") -> NetworkShape:
    return trace_shape(dense(name), dense_groups(name), SHAPE)


def truth(shape: NetworkShape, counts: Mapping[str, int]) -> float:
    """A cost that the table's own features can say."""
    features = Features(shape, None, "tiles")
    weights = np.linspace(1.0, 2.0, features.row({}).size)
    return float(features.row(counts) @ weights / (features.row({}) @ weights))


def table_of(
    points: Sequence[TablePoint], layers: Sequence[LayerTime] = (), estimator: EstimatorName = "tiles"
) -> LatencyTable:
    return LatencyTable(
        device=DEVICE,
        runtime=RUNTIME,
        spec=BenchSpec(),
        built_at="2026-01-01T00:00:00+00:00",
        dense_ms=2.0,
        channels={group.name: group.channels for group in GROUPS},
        smallest={group.name: keep_values(group.channels, SETTINGS)[0] for group in GROUPS},
        points=tuple(points),
        layers=tuple(layers),
        estimator=estimator,
        steps={},
        error=None,
        errors={},
        missing={},
    )


def layer_cost(point: LayerPoint) -> float:
    """Of a kernel in tiles of 16 output channels: what a layer takes, in parts of the network."""
    tiles = np.ceil(point.out_channels / TILE)
    inputs = 1 if point.key.kind == "depthwise" else point.in_channels
    work = np.prod(point.key.out_size) * np.prod(point.key.kernel_size) * tiles * (inputs + 2.0)
    return 1e-6 * float(work) + 1e-4


def timed(points: Sequence[LayerPoint]) -> list[LayerTime]:
    return [LayerTime(**point.model_dump(), ratio=layer_cost(point)) for point in points]
