"""What a network costs on the device: measured there, asked of the latency table, or both.

Every measurement is interleaved with the dense network in the same sitting, so that a machine that slows down slows
both: the ratio is what the search learns from. With several devices the answer is the one that is worst for the target.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import nn

import device_bench
from device_bench.records import BenchSpec, Comparison, ComparisonResult, DeviceInfo, DeviceKind, RuntimeInfo
from pipeline.config import TargetSection
from pipeline.errors import RewardRejectedError
from pipeline.export import TfliteConverter
from pipeline.pruning.channels import Scores, make_plan, rebuild
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import Architecture, LatencySourceName, Record
from pipeline.run_folder import append_json_line, read_json_lines
from pipeline.search.latency_table import LatencyModel, TableError

KeepCounts = Mapping[str, int]
ATTEMPTS = 3
TOGETHER = 5
"""How many variants share one sitting with the dense network."""
AIM = 0.97
"""The agent aims at this share of the target: measured afresh, a plan right on it misses it half of the time."""
FRESH_PROCESSES = 3
"""Processes of a measurement that a decision rests on: between processes the same file moves by some per cent."""


class LatencyAnswer(Record):
    """One network's latency beside the dense network's, and the share of that which the target allows."""

    latency_ms: float
    dense_ms: float
    target_ratio: float
    source: LatencySourceName

    @property
    def ratio(self) -> float:
        return self.latency_ms / self.dense_ms

    @property
    def aim_ratio(self) -> float:
        return AIM * self.target_ratio

    @property
    def of_aim(self) -> float:
        """1 where the aim is just met, above where it is missed."""
        return self.ratio / self.aim_ratio

    @property
    def shortfall(self) -> float:
        """max(1 - P/T_P, 0) of equation 3; 0 on a device where the dense network meets the target already."""
        if self.aim_ratio >= 1.0:
            return 0.0
        return max(1.0 - (1.0 - self.ratio) / (1.0 - self.aim_ratio), 0.0)


class LatencySource(Protocol):
    def step(self, keep_counts: KeepCounts) -> LatencyAnswer:
        """What the network costs after a step."""

    def end(self, keep_counts: KeepCounts) -> LatencyAnswer:
        """What it costs at the end of an episode."""

    def recall(self, keep_counts: KeepCounts) -> None:
        """Take note of an `end` that was answered before the search was interrupted."""


def target_ratio(target: TargetSection, dense_ms: float) -> float:
    """The share of the dense latency that the target allows on a device where the dense network takes `dense_ms`."""
    if target.latency is not None:
        return target.latency
    wanted_ms = target.latency_ms if target.latency_ms is not None else 1000.0 / (target.fps or 1.0)
    return wanted_ms / dense_ms


class MeasuredPlan(Record):
    """One line of `measurements.jsonl`: a network with these channel counts, timed on one device."""

    keep_counts: dict[str, int]
    device_spec: str
    device: DeviceInfo
    runtime: RuntimeInfo
    spec: BenchSpec
    latency_ms: float
    dense_ms: float
    ratio: float
    """Interleaved, so not exactly latency_ms / dense_ms."""
    noise_floor: float
    started_at: str


@dataclass
class LatencyMeter:
    """Exports networks and times them on one device; equal channel counts are measured once (cache on disk)."""

    network: nn.Module
    groups: Sequence[ChannelGroup]
    scores: Scores
    input_shape: tuple[int, int, int]
    device_spec: str
    spec: BenchSpec
    reward_from: Sequence[DeviceKind]
    log: Path
    """measurements.jsonl"""
    workspace: Path
    """A folder for exported files; they are removed once they have been measured."""
    converter: TfliteConverter
    _known: dict[frozenset[tuple[str, int]], MeasuredPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in read_json_lines(MeasuredPlan, self.log):
            if (line.device_spec, line.spec) == (self.device_spec, self.spec):
                self._known[_key(line.keep_counts)] = line

    @functools.cached_property
    def device(self) -> DeviceInfo:
        with device_bench.open_device(self.device_spec) as device:
            info = device.info()
        if info.kind not in self.reward_from:
            raise RewardRejectedError(
                f"{self.device_spec} is of kind {info.kind!r}, and search.reward_from allows "
                f"{', '.join(self.reward_from)}: latency there is not a phone's; add {info.kind!r} to learn from it"
            )
        return info

    @functools.cached_property
    def _dense_file(self) -> Path:
        return self.converter.convert(self.network, self.input_shape, self.workspace / "dense.tflite")

    @property
    def measurements(self) -> int:
        """How many networks have been measured for the search."""
        return len(self._known)

    @property
    def dense_ms(self) -> float:
        """The dense network's latency, as the median over the sittings so far."""
        return float(np.median([line.dense_ms for line in self._known.values()]))

    def measure(self, keep_counts: KeepCounts) -> MeasuredPlan:
        return self.measure_many([keep_counts])[0]

    def measure_many(
        self, plans: Sequence[KeepCounts], on_result: Callable[[int], None] | None = None
    ) -> list[MeasuredPlan]:
        """Measure plans, TOGETHER at a time; files are exported ahead while others are timed."""
        missing = {_key(plan): plan for plan in plans}
        missing = {key: plan for key, plan in missing.items() if key not in self._known}
        names = list(missing)
        for first in range(0, len(names), TOGETHER):
            chunk = names[first : first + TOGETHER]
            self._measure_chunk([missing[key] for key in chunk])
            if on_result:
                on_result(min(first + TOGETHER, len(names)))
        return [self._known[_key(plan)] for plan in plans]

    def fresh(self, plans: Sequence[KeepCounts]) -> list[Comparison]:
        """Each plan against the dense network, all in one sitting; neither read from the cache nor kept in it."""
        spec = self.spec.model_copy(update={"processes": max(FRESH_PROCESSES, self.spec.processes)})
        files = self._export(plans)
        comparisons = self._compare([self._dense_file, *files], spec).comparisons
        for file in files:
            file.unlink(missing_ok=True)
        return list(comparisons)

    def _measure_chunk(self, plans: Sequence[KeepCounts]) -> None:
        files = self._export(plans)
        result = self._compare([self._dense_file, *files], self.spec)
        dense = result.measurements[0]
        for plan, comparison, measurement in zip(plans, result.comparisons, result.measurements[1:], strict=True):
            line = MeasuredPlan(
                keep_counts=dict(plan),
                device_spec=self.device_spec,
                device=measurement.device,
                runtime=measurement.runtime,
                spec=self.spec,
                latency_ms=measurement.latency_ms.median,
                dense_ms=dense.latency_ms.median,
                ratio=comparison.ratio,
                noise_floor=comparison.noise_floor,
                started_at=measurement.started_at,
            )
            append_json_line(self.log, line)
            self._known[_key(plan)] = line
        for file in files:
            file.unlink(missing_ok=True)

    def _export(self, plans: Sequence[KeepCounts]) -> list[Path]:
        jobs = []
        for index, plan in enumerate(plans):
            path = self.workspace / f"candidate-{index}.tflite"
            jobs.append(self.converter.submit(self._slim(plan), self.input_shape, path))
        return [job.result() for job in jobs]

    def _compare(self, files: Sequence[Path], spec: BenchSpec) -> ComparisonResult:
        """Compare, again up to ATTEMPTS times while a measurement is rejected: a rejected one is never rewarded."""
        assert self.device  # refuses a kind of device that must not pay a reward
        rejections: set[str] = set()
        for _ in range(ATTEMPTS):
            result = device_bench.compare(list(files), device=self.device_spec, spec=spec)
            rejections = {reason for m in result.measurements for reason in m.rejections}
            if not rejections:
                return result
        raise RewardRejectedError(
            f"{self.device_spec}: {ATTEMPTS} measurements in a row were rejected ({'; '.join(sorted(rejections))}); "
            "mend the cause and run again: the search goes on where it stopped"
        )

    def _slim(self, keep_counts: KeepCounts) -> nn.Module:
        architecture = Architecture(name="candidate", num_classes=1, image_size=self.input_shape[1])
        plan = make_plan(architecture, self.groups, keep_counts, self.scores, {})
        return rebuild(self.network, self.groups, plan)


def _key(keep_counts: KeepCounts) -> frozenset[tuple[str, int]]:
    return frozenset(keep_counts.items())


@dataclass
class Measured:
    """Every answer is a measurement on the devices."""

    meters: Sequence[LatencyMeter]
    target: TargetSection

    def step(self, keep_counts: KeepCounts) -> LatencyAnswer:
        plans = [meter.measure(keep_counts) for meter in self.meters]
        return _worst([_answer(p.ratio, p.dense_ms, self.target, "measured") for p in plans])

    def end(self, keep_counts: KeepCounts) -> LatencyAnswer:
        return self.step(keep_counts)

    def recall(self, keep_counts: KeepCounts) -> None:
        """Nothing to learn: the answers are in the meters' logs."""


@dataclass
class Tabled:
    """Every answer is the latency table's: repeatable, and cheap."""

    models: Sequence[LatencyModel]
    target: TargetSection

    def step(self, keep_counts: KeepCounts) -> LatencyAnswer:
        answers = [_answer(m.ratio(keep_counts), m.table.dense_ms, self.target, "table") for m in self.models]
        return _worst(answers)

    def end(self, keep_counts: KeepCounts) -> LatencyAnswer:
        return self.step(keep_counts)

    def recall(self, keep_counts: KeepCounts) -> None:
        """Nothing to learn: the table stays as it is."""


@dataclass
class Hybrid:
    """The table at every step, a measurement at the end of every episode, which also corrects the table."""

    tabled: Tabled
    measured: Measured
    errors: list[float] = field(default_factory=list)
    """Relative error of the table on each plan that was then measured."""

    def step(self, keep_counts: KeepCounts) -> LatencyAnswer:
        return self.tabled.step(keep_counts)

    def end(self, keep_counts: KeepCounts) -> LatencyAnswer:
        for model, meter in zip(self.tabled.models, self.measured.meters, strict=True):
            self._correct(model, keep_counts, meter.measure(keep_counts).ratio)
        return self.measured.end(keep_counts)

    def recall(self, keep_counts: KeepCounts) -> None:
        for model, meter in zip(self.tabled.models, self.measured.meters, strict=True):
            self._correct(model, keep_counts, meter.measure(keep_counts).ratio)

    def _correct(self, model: LatencyModel, keep_counts: KeepCounts, ratio: float) -> None:
        self.errors.append(abs(model.ratio(keep_counts) / ratio - 1.0))
        model.observe(keep_counts, ratio)

    def error(self) -> TableError | None:
        if not self.errors:
            return None
        return TableError(
            median=float(np.median(self.errors)), p90=float(np.percentile(self.errors, 90)), n=len(self.errors)
        )


def _answer(ratio: float, dense_ms: float, target: TargetSection, source: LatencySourceName) -> LatencyAnswer:
    return LatencyAnswer(
        latency_ms=ratio * dense_ms, dense_ms=dense_ms, target_ratio=target_ratio(target, dense_ms), source=source
    )


def _worst(answers: Sequence[LatencyAnswer]) -> LatencyAnswer:
    return max(answers, key=lambda answer: (answer.shortfall, answer.of_aim))
