"""Predicts what a network costs on the device from its channel counts, by a fit to variants that were measured there.

A non-negative sum over features of the operations, which is what a processor does: it spends time on one after another.
Three kinds of feature were tried against each other (docs/results/table_accuracy.txt), and a table keeps the one that
predicts best on its own variants:

    tiles      work, bytes and tiles of each kind of operation, channels rounded up to 16 and pixels to 6
    layers     the times of single layers alone (layer_times.py), summed over each kind
    combined   both, and what the weights cost that a cache of each size no longer holds

In a network that is walked through again and again, a cache of C bytes that forgets what was used longest ago holds all
of w <= C bytes of weights, and of w >= 2C hardly any: w clip(w/C - 1, 0, 1) is what must be fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from pipeline.pruning.costs import NetworkShape
from pipeline.records import Record
from pipeline.search.layer_times import LayerTimes

Floats = NDArray[np.float64]
KeepCounts = Mapping[str, int]
EstimatorName = Literal["tiles", "layers", "combined"]
ESTIMATORS: tuple[EstimatorName, ...] = get_args(EstimatorName)
CHANNEL_TILE = 16
PIXEL_TILE = 6
CACHE_BYTES = tuple(2.0**power for power in range(19, 27))
"""512 KiB to 64 MiB: from a core's own cache to a shared one."""
KINDS = ("pointwise", "spatial", "depthwise", "linear")
FOLDS = 5
SITTING_PRIOR = 1.0
"""How many variants' worth of belief says that a sitting was like the others."""
ROUNDS = 4


class TablePoint(Record):
    """One measured variant: its channel counts, and its latency over the dense network's in the same sitting."""

    keep_counts: dict[str, int]
    ratio: float
    sitting: int = 0
    """Variants of one sitting share a measurement of the dense network, and its error."""


class Features:
    """Rows of features for channel counts, by one estimator.

    Args:
        times: of the single layers; None where they were not measured, and only `tiles` can be had.
    """

    def __init__(self, shape: NetworkShape, times: LayerTimes | None, name: EstimatorName) -> None:
        self._shape, self._times = shape, times
        parts: dict[EstimatorName, Sequence[Callable[[Floats, Floats], Floats]]] = {
            "tiles": [self._tiles],
            "layers": [self._layers],
            "combined": [self._layers, self._tiles, self._fetched],
        }
        self._parts = parts[name]
        layers = shape.layers
        self._out_pixels, self._in_pixels, self._kernel = (
            np.array([getattr(layer, field) for layer in layers], dtype=np.float64)
            for field in ("out_pixels", "in_pixels", "kernel")
        )
        kinds = [
            ("pointwise" if layer.kernel == 1 else "spatial") if layer.kind == "dense" else layer.kind
            for layer in layers
        ]
        self._is = {kind: np.array([one == kind for one in kinds], dtype=np.float64) for kind in KINDS}

    def row(self, keep_counts: KeepCounts) -> Floats:
        """(F,) all of them at least 0."""
        inputs, outputs = self._shape.channels(keep_counts)
        return np.concatenate([part(inputs, outputs) for part in self._parts])

    def rows(self, points: Sequence[TablePoint]) -> Floats:
        """(points, F)"""
        return np.array([self.row(point.keep_counts) for point in points])

    def _tiles(self, inputs: Floats, outputs: Floats) -> Floats:
        """(9,) work of each kind, bytes of activations, bytes of weights, tiles, and a constant; in millions."""
        tiles = np.ceil(outputs / CHANNEL_TILE) * CHANNEL_TILE
        pixels = np.ceil(self._out_pixels / PIXEL_TILE) * PIXEL_TILE
        work = pixels * inputs * self._kernel * tiles
        activations = 4.0 * (self._in_pixels * inputs + self._out_pixels * outputs)
        depthwise = self._is["depthwise"]
        rows = (
            work @ self._is["pointwise"],
            work @ self._is["spatial"],
            (self._out_pixels * self._kernel * tiles) @ depthwise,
            (inputs * tiles) @ self._is["linear"],
            activations @ (self._is["pointwise"] + self._is["spatial"]),
            activations @ depthwise,
            self._weight_bytes(inputs, outputs).sum(),
            tiles.sum(),
            1e6,
        )
        return np.array(rows) / 1e6

    def _layers(self, inputs: Floats, outputs: Floats) -> Floats:
        """(5,) times of the layers alone, summed over each kind, and a constant."""
        assert self._times is not None, "require() comes first"
        alone = self._times.ratios(inputs, outputs)
        return np.array([*(alone @ self._is[kind] for kind in KINDS), 1.0])

    def _fetched(self, inputs: Floats, outputs: Floats) -> Floats:
        """(8,) megabytes of weights that each cache size must fetch anew at every run."""
        held = self._weight_bytes(inputs, outputs).sum()
        return np.array([held * float(np.clip(held / cache - 1.0, 0.0, 1.0)) for cache in CACHE_BYTES]) / 1e6

    def _weight_bytes(self, inputs: Floats, outputs: Floats) -> Floats:
        weights: Floats = 4.0 * self._kernel * outputs * np.where(self._is["depthwise"] > 0, 1.0, inputs)
        return weights


def usable(times: LayerTimes | None) -> tuple[EstimatorName, ...]:
    return ESTIMATORS if times is not None else ("tiles",)


def fit(rows: Floats, points: Sequence[TablePoint]) -> Floats:
    """Non-negative weights (F,) with the least squared *relative* error over the points.

    Every sitting has a factor of its own beside them, since its ratios share one measurement of the dense network:
    estimated from its variants, drawn towards 1 where they are few.

    Args:
        rows: (points, F)
    """
    ratios = np.array([point.ratio for point in points])
    sittings = np.array([point.sitting for point in points])
    factors: Floats = np.ones(len(points))
    for _ in range(ROUNDS):
        weights = _least_squares(rows, ratios / factors)
        missed = np.log(ratios / np.maximum(rows @ weights, 1e-12))
        factors = _sitting_factors(missed, sittings)
    return weights


def _least_squares(rows: Floats, ratios: Floats) -> Floats:
    relative = rows / ratios[:, None]
    scale = relative.max(axis=0)
    scale[scale == 0] = 1.0
    weights, _ = nnls(relative / scale, np.ones(len(ratios)))
    result: Floats = weights / scale
    return result


def _sitting_factors(missed: Floats, sittings: NDArray[np.int64]) -> Floats:
    """(points,) what each point's sitting is off by, from the logarithms of what the fit misses.

    The typical sitting is off by nothing: a median, so that one that was far off does not move the others.
    """
    names, numbers = np.unique(sittings, return_inverse=True)
    counts = np.bincount(numbers)
    medians = np.array([np.median(missed[numbers == number]) for number in range(names.size)])
    logs = medians * counts / (counts + SITTING_PRIOR)
    result: Floats = np.exp(logs - np.median(logs))[numbers]
    return result


def choose(shape: NetworkShape, times: LayerTimes | None, points: Sequence[TablePoint]) -> EstimatorName:
    """The estimator with the smallest error on points that it was not fitted on, in FOLDS parts."""
    return min(usable(times), key=lambda name: _cross_validated(Features(shape, times, name), points))


def _cross_validated(features: Features, points: Sequence[TablePoint]) -> float:
    """Mean absolute relative error; every part is left out once."""
    rows = features.rows(points)
    ratios = np.array([point.ratio for point in points])
    predicted = np.empty(len(points))
    parts = np.arange(len(points)) % min(FOLDS, len(points))
    for part in np.unique(parts):
        out = parts == part
        kept = [point for point, left in zip(points, out, strict=True) if not left]
        if not kept:
            return float("inf")
        predicted[out] = rows[out] @ fit(rows[~out], kept)
    return float(np.mean(np.abs(predicted / ratios - 1.0)))
