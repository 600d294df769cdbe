"""A device's latency table: what a network with given channel counts costs there, without building it.

It serves one device, runtime and spec, and answers between the channel counts that were measured: everything else it
refuses. The fit behind it is `latency_model.py`, the single layers' times `layer_times.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from pydantic import Field

from device_bench.records import BenchSpec, DeviceInfo, RuntimeInfo
from pipeline.errors import SearchError
from pipeline.pruning.costs import NetworkShape
from pipeline.records import Record
from pipeline.search.latency_model import EstimatorName, Features, TablePoint, fit
from pipeline.search.layer_times import LayerTime, LayerTimes

RECENT = 8
"""How many of the last measurements correct the fit where the search is."""


class TableError(Record):
    """Relative error |predicted / measured - 1| on variants that took no part in the fit."""

    median: float
    p90: float
    n: int
    worst: float | None = None

    @classmethod
    def of(cls, errors: Sequence[float]) -> TableError:
        """From signed or absolute relative errors, at least one of them."""
        sizes = np.abs(errors)
        median, p90 = (float(value) for value in np.percentile(sizes, (50, 90)))
        return cls(median=median, p90=p90, n=len(sizes), worst=float(sizes.max()))


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
    layers: tuple[LayerTime, ...]
    """Single layers, timed alone; none where the device cannot time hundreds of files in a reasonable time."""
    estimator: EstimatorName
    steps: dict[str, tuple[int, ...]]
    """The right edges of each group's measured staircase: the channel counts that are worth offering."""
    staircases: dict[str, dict[int, float]] = Field(default_factory=dict)
    """What `steps` was read from: the layers that write a group's channels, over the dense network, by how many."""
    error: TableError | None
    errors: dict[EstimatorName, TableError]
    """Of each estimator that was tried, on the same variants as `error`."""
    missing: dict[str, str]

    def require(self, device: DeviceInfo, runtime: RuntimeInfo, spec: BenchSpec) -> Self:
        """Itself, if it was built on this device, with this runtime and spec.

        Raises:
            SearchError: it was not; a table of another device says nothing about this one.
        """
        for name, mine, asked in (
            ("device", self.device.id, device.id),
            ("runtime", self.runtime, runtime),
            ("spec", self.spec, spec),
        ):
            if mine != asked:
                raise SearchError(
                    f"the latency table of {self.built_at} was built with {name} {mine}, and is asked about {asked}; "
                    "remove the run's folder profile/ and run again"
                )
        return self


class LatencyModel:
    """The fit behind a table; `observe` adds what was measured since, and fits again."""

    def __init__(self, shape: NetworkShape, table: LatencyTable) -> None:
        self.table = table
        times = LayerTimes(shape, table.layers) if table.layers else None
        self._features = Features(shape, times, table.estimator)
        dense = TablePoint(keep_counts=dict(table.channels), ratio=1.0, sitting=-1)
        self._points = [dense, *table.points]
        self._rows = self._features.rows(self._points)
        self._weights = fit(self._rows, self._points)
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
                    f"the latency table of {self.table.built_at} ({self.table.device.model}, "
                    f"{self.table.runtime.name} {self.table.runtime.version}) holds {low} to {high} channels for "
                    f"{name}, and was asked about {count}; remove the run's folder profile/ and run again with this "
                    "pruning section"
                )
        return self._correction * self._fitted(keep_counts)

    def observe(self, keep_counts: Mapping[str, int], ratio: float) -> None:
        """Fit again with this point; what the fit still misses on the last few points corrects what comes next."""
        sitting = max(point.sitting for point in self._points) + 1
        point = TablePoint(keep_counts=dict(keep_counts), ratio=ratio, sitting=sitting)
        self._points.append(point)
        self._rows = np.vstack([self._rows, self._features.row(keep_counts)])
        self._recent.append(point)
        self._weights = fit(self._rows, self._points)
        self._correction = float(np.median([p.ratio / self._fitted(p.keep_counts) for p in self._recent]))

    def errors(self, points: Sequence[TablePoint]) -> list[float]:
        """Signed relative errors, predicted / measured - 1."""
        return [self.ratio(point.keep_counts) / point.ratio - 1.0 for point in points]

    def _fitted(self, keep_counts: Mapping[str, int]) -> float:
        return float(self._features.row(keep_counts) @ self._weights)
