"""What single layers cost on the device by their channels: each kind of layer alone, timed at many channel counts.

Layers that agree in kind, kernel and sizes are one: a network of fifty has some fifteen of these. Of each, the output
channels are walked finely at one count of input channels, which shows the staircase of the kernels' tiles; a few points
at other counts of inputs give the slope, as a matrix product's time is affine in its inputs:
T(in, out) = c + (T(in_0, out) - c) (a + in) / (a + in_0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from pipeline.pruning.costs import LayerKind, LayerShape, NetworkShape, Size
from pipeline.records import Record

Floats = NDArray[np.float64]
FINE_TO = 128
"""Channels up to which the walk takes every step; above, kernels' tiles are small beside the layer."""
COARSE_STEPS = ((512, 32), (10**9, 128))
"""Up to how many channels which step is taken, beyond FINE_TO."""
SAME_LEVEL = 0.04
"""Relative difference of times up to which two counts of channels lie on one step of the staircase."""
MAX_INPUT_OFFSET = 1000.0


class LayerKey(Record):
    """What layers have in common that differ by their channels alone."""

    kind: LayerKind
    kernel_size: Size
    in_size: Size
    out_size: Size

    @classmethod
    def of(cls, layer: LayerShape) -> LayerKey:
        return cls(kind=layer.kind, kernel_size=layer.kernel_size, in_size=layer.in_size, out_size=layer.out_size)


class LayerPoint(Record):
    """A layer to time; a depthwise one has as many inputs as outputs."""

    key: LayerKey
    in_channels: int
    out_channels: int

    @property
    def weight_bytes(self) -> float:
        inputs = 1 if self.key.kind == "depthwise" else self.in_channels
        return 4.0 * self.key.kernel_size[0] * self.key.kernel_size[1] * inputs * self.out_channels


class LayerTime(LayerPoint):
    ratio: float
    """Its latency over that of the whole dense network, interleaved with it."""


def layer_grid(shape: NetworkShape, step: int) -> list[LayerPoint]:
    """The layers to time so that every layer of the network is known at all channel counts.

    Args:
        step: the finest step of output channels.
    """
    widest: dict[LayerKey, tuple[int, int]] = {}
    for layer in shape.layers:
        inputs, outputs = widest.get(LayerKey.of(layer), (0, 0))
        widest[LayerKey.of(layer)] = max(inputs, layer.in_channels), max(outputs, layer.out_channels)
    points = []
    for key, (inputs, outputs) in widest.items():
        walk = _walk(outputs, step)
        if key.kind == "depthwise":
            points += [LayerPoint(key=key, in_channels=count, out_channels=count) for count in walk]
            continue
        few = sorted({walk[0], walk[len(walk) // 4], walk[len(walk) // 2], walk[-1]})
        middle, *others = dict.fromkeys((max(1, inputs // 2), max(1, inputs // 8), inputs))
        points += [LayerPoint(key=key, in_channels=middle, out_channels=count) for count in walk]
        points += [
            LayerPoint(key=key, in_channels=other, out_channels=count) for other in sorted(others) for count in few
        ]
    return points


def _walk(most: int, step: int) -> list[int]:
    """Counts from `step` to `most`: every step at first, fewer above FINE_TO; `most` is always one."""
    counts = list(range(step, min(most, FINE_TO) + 1, step))
    count = counts[-1] if counts else 0
    for limit, coarse in COARSE_STEPS:
        while count < min(most, limit):
            count += max(coarse, step)
            counts.append(min(count, most))
    return sorted({*counts, most})


class LayerCurve:
    """The latency of one kind of layer at any channel counts up to the widest timed, from its timed points."""

    def __init__(self, times: Sequence[LayerTime]) -> None:
        self.key = times[0].key
        walked = _most_common([time.in_channels for time in times])
        if self.key.kind == "depthwise":
            line, rest = list(times), []
        else:
            line = [time for time in times if time.in_channels == walked]
            rest = [time for time in times if time.in_channels != walked]
        line.sort(key=lambda time: time.out_channels)
        self._counts = np.array([time.out_channels for time in line], dtype=np.float64)
        self._ratios = np.array([time.ratio for time in line])
        self._walked_inputs = walked
        self.tile = _tile(self._counts, self._ratios)
        self._base, self._offset = 0.0, math.inf
        if rest:
            self._base, self._offset = self._fit_inputs(rest)

    def ratio(self, in_channels: float, out_channels: float) -> float:
        """Latency over the dense network's."""
        level = self._level(out_channels)
        if self._offset == math.inf:  # one count of inputs: the image's channels, or a depthwise layer
            return level
        share = (self._offset + in_channels) / (self._offset + self._walked_inputs)
        return self._base + (level - self._base) * share

    def _level(self, out_channels: float) -> float:
        """At the walked count of inputs: where every step was timed the next one up, beyond that the tile's edge."""
        step = self._counts[0] if out_channels <= FINE_TO else self.tile
        edge = min(np.ceil(out_channels / step) * step, self._counts[-1])
        return float(np.interp(edge, self._counts, self._ratios))

    def _fit_inputs(self, rest: Sequence[LayerTime]) -> tuple[float, float]:
        """c and a of the module's formula, with the least squared relative error over the points off the walk."""
        levels = np.array([self._level(time.out_channels) for time in rest])
        inputs = np.array([time.in_channels for time in rest], dtype=np.float64)
        measured = np.array([time.ratio for time in rest])
        lowest = float(self._ratios.min())

        def misses(values: Floats) -> Floats:
            base, offset = values[0] * lowest, values[1]
            share = (offset + inputs) / (offset + self._walked_inputs)
            result: Floats = (base + (levels - base) * share) / measured - 1.0
            return result

        found = least_squares(misses, x0=(0.1, 2.0), bounds=((0.0, 0.0), (0.95, MAX_INPUT_OFFSET)))
        return float(found.x[0]) * lowest, float(found.x[1])


def _most_common(values: Sequence[int]) -> int:
    return max(dict.fromkeys(values), key=values.count)


def _tile(counts: Floats, ratios: Floats) -> int:
    """The width of the staircase's steps: the widest at which most counts cost what the right edge of theirs does."""
    step = int(counts[0])
    fine = counts[np.isclose(counts, step * np.arange(1, counts.size + 1))]
    known = dict(zip(counts.tolist(), ratios.tolist(), strict=True))
    tile = step
    for factor in (2, 4, 8):
        width = step * factor
        inside = [
            abs(known[count] / known[edge] - 1.0)
            for count in fine.tolist()
            if count % width and (edge := float(np.ceil(count / width) * width)) in known
        ]
        if len(inside) >= factor - 1 and np.median(inside) < SAME_LEVEL:
            tile = width
    return tile


class LayerTimes:
    """The curves of all kinds of layer of a network."""

    def __init__(self, shape: NetworkShape, times: Sequence[LayerTime]) -> None:
        by_key: dict[LayerKey, list[LayerTime]] = {}
        for time in times:
            by_key.setdefault(time.key, []).append(time)
        curves = {key: LayerCurve(found) for key, found in by_key.items()}
        self.curves = [curves[LayerKey.of(layer)] for layer in shape.layers]

    def ratios(self, inputs: Floats, outputs: Floats) -> Floats:
        """(L,) each layer's latency over the dense network's, alone, at these channels (L,)."""
        return np.array([c.ratio(i, o) for c, i, o in zip(self.curves, inputs, outputs, strict=True)])
