"""The profile stage: measure random variants and single layers on a device, and fit its latency table to them.

All of it is one session on the device: variants share sittings with the dense network, and so do the layers. Variants
are measured briefly, in one process each, since the fit averages over them; those that the table's error is told on
with the search's own timing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from device_bench.device import Missing
from device_bench.records import BenchSpec, ComparisonResult, Record, RejectedProcess
from pipeline.config import PruningSection
from pipeline.export.single_layer import single_layer
from pipeline.pruning.costs import NetworkShape
from pipeline.pruning.groups import keep_values
from pipeline.run_folder import append_json_line, hash_json, read_json_lines
from pipeline.search.latency_model import ESTIMATORS, EstimatorName, TablePoint, choose, usable
from pipeline.search.latency_table import LatencyModel, LatencyTable, TableError
from pipeline.search.layer_times import LayerPoint, LayerTime, LayerTimes, layer_grid
from pipeline.search.meter import LatencyMeter, put_aside
from pipeline.search.staircase import staircases, steps
from pipeline.search.uniform import KeepGrid, round_grid, scaled_counts
from pipeline.search_section import ProfileSection

SPREADS = (0.1, 0.5)
"""Standard deviations, of the logarithm of a group's share around its variant's, that variants are drawn with."""
COST_POWER = 1.5
"""About how a network's latency rises with the share of its channels: variants are spread evenly over the latency."""
TOGETHER, CHECKED_TOGETHER = 10, 5
TOGETHER_BYTES = 300e6
"""Of the files of a sitting, each of which is in memory twice: more would not fit on a small board."""
VARIANT_SECONDS = 0.1
LAYER_SECONDS = 0.02
LAYERS_TOGETHER = 50
IN_ONE_PROCESS = ("litert_runner.py", "fake")
"""Runners that time many files in one process; others start a process for each turn, and hundreds of layers take an
hour."""


class SittingLog(Record):
    """One line of `measurements.jsonl`: a sitting of variants or layers, in the order in which they were asked for."""

    what: str
    asked: str
    """Hash of what was asked for, of the device and of the runtime: another answer is not this one."""
    spec: BenchSpec
    dense_ms: float
    ratios: tuple[float, ...]
    rejected: tuple[RejectedProcess, ...]


def random_variants(grid: KeepGrid, count: int, settings: PruningSection, seed: int) -> list[dict[str, int]]:
    """Channel counts from the smallest network to the dense one, each group drawn around its variant's share."""
    rng = np.random.default_rng(seed)
    evenly = rng.permutation((np.arange(count) + rng.random(count)) / count)
    lowest = settings.min_keep**COST_POWER
    variants = []
    for cost in evenly:
        share, spread = (lowest + (1.0 - lowest) * cost) ** (1 / COST_POWER), rng.uniform(*SPREADS)
        variants.append(scaled_counts(grid, {name: float(np.exp(rng.normal(0.0, spread))) for name in grid}, share))
    return variants


class Profiler:
    """Builds the latency table of one device.

    Args:
        meter: measures there; its log's folder holds what was measured until an interruption.
        tell: called with what is measured, how much of it is done, and of how much.
    """

    def __init__(
        self,
        meter: LatencyMeter,
        shape: NetworkShape,
        pruning: PruningSection,
        settings: ProfileSection,
        tell: Callable[[str, int, int], None],
    ) -> None:
        self._meter, self._shape, self._settings, self._pruning, self._tell = meter, shape, settings, pruning, tell
        self._grid = round_grid(meter.groups, pruning)
        self._dense_ms: list[float] = []

    def build(self, seed: int) -> LatencyTable:
        """Measure fit and check variants, and the single layers; the check variants take no part in the fit."""
        settings = self._settings
        plans = random_variants(self._grid, settings.fit_variants + settings.check_variants, self._pruning, seed)
        fitted, checked = plans[: settings.fit_variants], plans[settings.fit_variants :]
        fitted[0] = {name: counts[0] for name, counts in self._grid.items()}  # the table reaches down to it
        points = self._time_variants("variants", fitted, TOGETHER, brief(self._meter.spec, VARIANT_SECONDS))
        layers = self._time_layers()
        as_searched = self._meter.spec.model_copy(update={"precision": None})
        check = self._time_variants("checks", checked, CHECKED_TOGETHER, as_searched)
        return self._table(points, layers, check)

    def _table(
        self, points: Sequence[TablePoint], layers: Sequence[LayerTime] | Missing, check: Sequence[TablePoint]
    ) -> LatencyTable:
        times = None if isinstance(layers, Missing) else LayerTimes(self._shape, layers)
        stairs = {} if times is None else staircases(self._shape, times, self._grid)
        table = LatencyTable(
            device=self._meter.device,
            runtime=self._meter.runtime,
            spec=self._meter.spec,
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            dense_ms=float(np.median(self._dense_ms)),
            channels={group.name: group.channels for group in self._meter.groups},
            smallest={group.name: keep_values(group.channels, self._pruning)[0] for group in self._meter.groups},
            points=tuple(points),
            layers=() if isinstance(layers, Missing) else tuple(layers),
            estimator=choose(self._shape, times, points),
            steps=steps(stairs),
            staircases=stairs,
            error=None,
            errors={},
            missing={"layers": layers.reason} if isinstance(layers, Missing) else {},
        )
        errors = {name: self._error(table, name, check) for name in ESTIMATORS if name in usable(times)}
        return table.model_copy(update={"error": errors[table.estimator], "errors": errors})

    def _error(self, table: LatencyTable, name: EstimatorName, check: Sequence[TablePoint]) -> TableError:
        model = LatencyModel(self._shape, table.model_copy(update={"estimator": name}))
        return TableError.of(model.errors(check))

    def _time_variants(
        self, name: str, plans: Sequence[dict[str, int]], together: int, spec: BenchSpec
    ) -> list[TablePoint]:
        chunks = chunked(plans, [self._meter.dense_bytes] * len(plans), together)
        points: list[TablePoint] = []

        def measure(chunk: Sequence[dict[str, int]]) -> ComparisonResult:
            return self._meter.sit(chunk, spec)

        for number, chunk, ratios in self._sittings(name, chunks, spec, measure):
            points += [
                TablePoint(keep_counts=plan, ratio=ratio, sitting=number)
                for plan, ratio in zip(chunk, ratios, strict=True)
            ]
        return points

    def _time_layers(self) -> list[LayerTime] | Missing:
        if self._settings.layers is False:
            return Missing(reason="search.profile.layers is false")
        runner = self._meter.runtime.runner
        if self._settings.layers is None and runner not in IN_ONE_PROCESS:
            return Missing(
                reason=f"{runner} starts a process for each turn, so hundreds of layers would take about an hour; "
                "search.profile.layers: true measures them all the same"
            )
        spec = brief(self._meter.spec, LAYER_SECONDS)
        grid = layer_grid(self._shape, max(self._pruning.round_to, 4))
        chunks = chunked(grid, [point.weight_bytes for point in grid], LAYERS_TOGETHER)
        times: list[LayerTime] = []
        for _, chunk, ratios in self._sittings("layers", chunks, spec, self._measure_layers(spec)):
            times += [LayerTime(**point.model_dump(), ratio=ratio) for point, ratio in zip(chunk, ratios, strict=True)]
        return times

    def _measure_layers(self, spec: BenchSpec) -> Callable[[Sequence[LayerPoint]], ComparisonResult]:
        def measure(chunk: Sequence[LayerPoint]) -> ComparisonResult:
            files = [self._write(point, self._meter.workspace / f"layer-{i}.tflite") for i, point in enumerate(chunk)]
            try:
                return self._meter.compare_with_dense(files, spec)
            finally:
                for file in files:
                    file.unlink()

        return measure

    def _write(self, point: LayerPoint, path: Path) -> Path:
        content = single_layer(
            point.key.kind,
            kernel_size=point.key.kernel_size,
            in_size=point.key.in_size,
            out_size=point.key.out_size,
            in_channels=point.in_channels,
            out_channels=point.out_channels,
        )
        path.write_bytes(content)
        return path

    def _sittings[T](
        self,
        name: str,
        chunks: Sequence[Sequence[T]],
        spec: BenchSpec,
        measure: Callable[[Sequence[T]], ComparisonResult],
    ) -> Iterator[tuple[int, Sequence[T], tuple[float, ...]]]:
        """(number, what was measured, latencies over the dense network's) of each sitting; those of the log again."""
        meter, done, total = self._meter, 0, sum(map(len, chunks))
        log = meter.folder / "measurements.jsonl"
        known = {line.asked: line for line in read_json_lines(SittingLog, log)}
        for number, chunk in enumerate(chunks):
            asked = hash_json([name, number, meter.device_spec, meter.device.id, meter.runtime, spec, chunk])
            line = known.get(asked)
            if line is None:
                result = measure(chunk)
                meter.require_believed(result, [plan for plan in chunk if isinstance(plan, dict)])
                line = _logged(f"{name} {number}", asked, spec, result)
                append_json_line(log, line)
            done += len(chunk)
            self._dense_ms.append(line.dense_ms)
            self._tell(f"measuring {name}", done, total)
            yield number, chunk, line.ratios


def brief(spec: BenchSpec, min_seconds: float) -> BenchSpec:
    """A spec that spends its time on many networks rather than on each."""
    return spec.model_copy(update={"min_seconds": min_seconds, "processes": 1, "precision": None})


def _logged(what: str, asked: str, spec: BenchSpec, result: ComparisonResult) -> SittingLog:
    return SittingLog(
        what=what,
        asked=asked,
        spec=spec,
        dense_ms=result.measurements[0].median_ms,
        ratios=tuple(comparison.ratio for comparison in result.comparisons),
        rejected=put_aside(result.measurements[0]),
    )


def chunked[T](items: Sequence[T], sizes: Sequence[float], together: int) -> list[Sequence[T]]:
    """The items in their order, at most `together` and, beyond one, TOGETHER_BYTES at a time.

    Args:
        sizes: bytes of each item.
    """
    chunks: list[list[T]] = []
    room = 0.0
    for item, size in zip(items, sizes, strict=True):
        if not chunks or len(chunks[-1]) == together or size > room:
            chunks.append([])
            room = TOGETHER_BYTES
        chunks[-1].append(item)
        room -= size
    return list(chunks)
