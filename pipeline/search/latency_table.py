"""A device's latency table: what a network with given channel counts costs there, without building it.

A non-negative sum over features of the operations, fitted to variants that were really measured on the device, each
interleaved with the dense network so that only the ratio counts. The features know that kernels work in tiles: output
channels are rounded up to 16 and pixels to 6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from device_bench.records import BenchSpec, DeviceInfo, RuntimeInfo
from pipeline.errors import SearchError
from pipeline.pruning.costs import NetworkShape
from pipeline.records import Record

Floats = NDArray[np.float64]
CHANNEL_TILE = 16
PIXEL_TILE = 6
RECENT = 8
"""How many of the last measurements correct the fit where the search is."""
FEATURES = (
    "pointwise_work",
    "spatial_work",
    "depthwise_work",
    "linear_work",
    "dense_bytes",
    "depthwise_bytes",
    "weight_bytes",
    "channel_tiles",
    "constant",
)


class TablePoint(Record):
    """One measured variant: its channel counts, and its latency over the dense network's in the same sitting."""

    keep_counts: dict[str, int]
    ratio: float


class TableError(Record):
    """Relative error |predicted / measured - 1| on variants that took no part in the fit."""

    median: float
    p90: float
    n: int


class LatencyTable(Record):
    """Serves one device, runtime and spec, for one network, between the smallest and largest counts measured."""

    device: DeviceInfo
    runtime: RuntimeInfo
    spec: BenchSpec
    built_at: str
    dense_ms: float
    channels: dict[str, int]
    smallest: dict[str, int]
    points: tuple[TablePoint, ...]
    error: TableError | None

    def require(self, device: DeviceInfo, spec: BenchSpec) -> Self:
        """Itself, if it was built on this device with this spec.

        Raises:
            SearchError: it was not; a table of another device says nothing about this one.
        """
        if (self.device.id, self.spec) != (device.id, spec):
            raise SearchError(
                f"the latency table was built on {self.device.id} with {self.spec}, and is asked about {device.id} "
                f"with {spec}; run the profile stage for this device (--fresh)"
            )
        return self


class LatencyModel:
    """The fit behind a table; `observe` adds what was measured since, and fits again."""

    def __init__(self, shape: NetworkShape, table: LatencyTable) -> None:
        self._shape = shape
        self.table = table
        dense = TablePoint(keep_counts=dict(table.channels), ratio=1.0)
        self._points = [dense, *table.points]
        self._weights = _fit(shape, self._points)
        self._recent: deque[TablePoint] = deque(maxlen=RECENT)
        self._correction = 1.0

    def ratio(self, keep_counts: Mapping[str, int]) -> float:
        """Predicted latency over the dense network's.

        Raises:
            SearchError: a count lies outside what was measured.
        """
        for name, count in keep_counts.items():
            low, high = self.table.smallest.get(name, 0), self.table.channels.get(name, 0)
            if not low <= count <= high:
                raise SearchError(
                    f"the latency table holds {low} to {high} channels for {name}, and was asked about {count}; "
                    "run the profile stage again with this pruning section (--fresh)"
                )
        return self._correction * self._fitted(keep_counts)

    def observe(self, keep_counts: Mapping[str, int], ratio: float) -> None:
        """Fit again with this point; what the fit still misses on the last few points corrects what comes next."""
        point = TablePoint(keep_counts=dict(keep_counts), ratio=ratio)
        self._points.append(point)
        self._recent.append(point)
        self._weights = _fit(self._shape, self._points)
        self._correction = float(np.median([p.ratio / self._fitted(p.keep_counts) for p in self._recent]))

    def _fitted(self, keep_counts: Mapping[str, int]) -> float:
        return float(features(self._shape, keep_counts) @ self._weights)


def features(shape: NetworkShape, keep_counts: Mapping[str, int]) -> Floats:
    """(9,) the FEATURES of one network, each summed over its layers, in millions."""
    inputs, outputs = shape.channels(keep_counts)
    tiles = np.ceil(outputs / CHANNEL_TILE) * CHANNEL_TILE
    out_pixels, in_pixels, kernel = (
        np.array([getattr(layer, name) for layer in shape.layers], dtype=np.float64)
        for name in ("out_pixels", "in_pixels", "kernel")
    )
    kinds = np.array([layer.kind for layer in shape.layers])
    pixel_tiles = np.ceil(out_pixels / PIXEL_TILE) * PIXEL_TILE
    work = pixel_tiles * inputs * kernel * tiles
    activations = 4.0 * (in_pixels * inputs + out_pixels * outputs)
    weights = 4.0 * kernel * outputs * np.where(kinds == "depthwise", 1.0, inputs)
    dense, depthwise, linear = kinds == "dense", kinds == "depthwise", kinds == "linear"
    pointwise = dense & (kernel == 1)
    rows = (
        work @ pointwise,
        work @ (dense & ~pointwise),
        (out_pixels * kernel * tiles) @ depthwise,
        (inputs * tiles) @ linear,
        activations @ dense,
        activations @ depthwise,
        weights.sum(),
        tiles.sum(),
        1e6,
    )
    return np.array(rows) / 1e6


def _fit(shape: NetworkShape, points: Sequence[TablePoint]) -> Floats:
    """Non-negative weights (9,) with the least squared *relative* error over the points."""
    rows = np.array([features(shape, point.keep_counts) / point.ratio for point in points])
    scale = rows.max(axis=0)
    scale[scale == 0] = 1.0
    weights, _ = nnls(rows / scale, np.ones(len(points)))
    result: Floats = weights / scale
    return result


def relative_errors(model: LatencyModel, points: Sequence[TablePoint]) -> TableError:
    errors = np.array([abs(model.ratio(point.keep_counts) / point.ratio - 1.0) for point in points])
    return TableError(median=float(np.median(errors)), p90=float(np.percentile(errors, 90)), n=len(points))
