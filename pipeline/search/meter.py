"""Networks timed on a device: exported, measured beside the dense one, remembered on disk."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

import device_bench
from device_bench import noise
from device_bench.device import Missing
from device_bench.records import (
    BenchSpec,
    Comparison,
    ComparisonResult,
    DeviceInfo,
    DeviceKind,
    Measurement,
    NoiseFloor,
    RejectedProcess,
    RuntimeInfo,
)
from pipeline.errors import MeasurementRejectedError, RewardRejectedError
from pipeline.export import TfliteConverter
from pipeline.export.candidates import CandidateExporter
from pipeline.pruning.channels import Scores
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import Record
from pipeline.run_folder import append_json_line, read_json_lines
from pipeline.search.cost import KeepCounts

FRESH_PROCESSES = 3
"""Processes of a measurement that a decision rests on: between processes the same file moves by some per cent."""
OF_THE_NETWORK = ("partially delegated", "not delegated", "wrong answer")
"""Rejections that are not the device's."""
A_LOOK = {"warmup_runs": 3, "timed_runs": 5, "min_seconds": 0.0, "processes": 1, "precision": None}
"""Enough to see which runtime answers, and about how fast."""


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
    processes: int
    rejected: tuple[RejectedProcess, ...]
    """Processes of its sitting that were put aside and repeated, without their samples."""
    unstable: str | None
    """Why it is known less well than the spec asks for; None where it is known well enough."""
    started_at: str


class RejectedPlan(Record):
    """One line of `rejections.jsonl`: a network whose measurement was rejected, and so never rewarded."""

    keep_counts: dict[str, int]
    device_spec: str
    spec: BenchSpec
    reasons: tuple[str, ...]
    processes: tuple[RejectedProcess, ...]
    started_at: str


class Sitting(Record):
    """One line of `sittings.jsonl`: plans that a decision rests on, compared with the dense network together."""

    device_spec: str
    device_id: str
    runtime: RuntimeInfo
    spec: BenchSpec
    plans: tuple[dict[str, int], ...]
    dense_ms: float
    started_at: str
    comparisons: tuple[Comparison, ...]


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
    """measurements.jsonl: of all searches of this network, since an equal plan is never measured twice."""
    folder: Path
    """Of the stage: sittings that decide, and what was rejected."""
    workspace: Path
    """A folder for exported files; they are removed once they have been measured."""
    converter: TfliteConverter
    _logged: list[MeasuredPlan] = field(default_factory=list)
    _asked: dict[frozenset[tuple[str, int]], MeasuredPlan] = field(default_factory=dict)
    _rejected: list[RejectedPlan] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked = (self.device_spec, self.spec)
        lines = read_json_lines(MeasuredPlan, self.log)
        self._logged = [line for line in lines if (line.device_spec, line.spec) == asked]
        rejected = read_json_lines(RejectedPlan, self._rejection_log)
        self._rejected = [line for line in rejected if (line.device_spec, line.spec) == asked]

    @property
    def _rejection_log(self) -> Path:
        return self.folder / "rejections.jsonl"

    @functools.cached_property
    def _known(self) -> dict[frozenset[tuple[str, int]], MeasuredPlan]:
        """What the log holds of this device and the runtime that answers there now."""
        if not self._logged:
            return {}
        here = (self.device.id, self.runtime)
        return {_key(line.keep_counts): line for line in self._logged if (line.device.id, line.runtime) == here}

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

    @property
    def runtime(self) -> RuntimeInfo:
        """What runs networks on the device now."""
        return self._look.runtime

    @functools.cached_property
    def _look(self) -> Measurement:
        look = self.spec.model_copy(update=A_LOOK)
        return device_bench.benchmark(self._dense_file, self.device_spec, look, power=False)

    def noise_floor(self, processes: int) -> NoiseFloor | Missing:
        """What difference can be seen on the device at all; measured, where too little is remembered of it."""
        known = self._remembered_noise(processes)
        if not isinstance(known, Missing):
            return known
        enough = {"processes": noise.MIN_PROCESSES, "max_processes": 2 * noise.MIN_PROCESSES, "precision": None}
        self.compare_with_dense([self._dense_file], self.spec.model_copy(update=enough))
        return self._remembered_noise(processes)

    def _remembered_noise(self, processes: int) -> NoiseFloor | Missing:
        model_ms = self._look.median_ms
        return noise.floor(self.device.id, self.spec, processes, runtime=self.runtime, model_ms=model_ms)

    @functools.cached_property
    def _dense_file(self) -> Path:
        return self._exporter.export({}, self.workspace / "dense.tflite")

    @property
    def dense_bytes(self) -> int:
        """Size of the dense network's file."""
        return self._dense_file.stat().st_size

    @functools.cached_property
    def _exporter(self) -> CandidateExporter:
        return CandidateExporter(self.converter, self.network, self.groups, self.scores, self.input_shape)

    @property
    def measured(self) -> Sequence[MeasuredPlan]:
        """What was asked for, in that order."""
        return tuple(self._asked.values())

    @property
    def rejected(self) -> Sequence[RejectedPlan]:
        return tuple(self._rejected)

    def known(self, keep_counts: KeepCounts) -> MeasuredPlan | None:
        """What the log says of a plan; nothing is measured."""
        return self._known.get(_key(keep_counts))

    def measure(self, keep_counts: KeepCounts) -> MeasuredPlan:
        """The plan's latency, from the log if it is there, else from a sitting with the dense network.

        Raises:
            MeasurementRejectedError: the device was disturbed for as long as it was tried.
            RewardRejectedError: no measurement of this device or network may pay a reward.
        """
        line = self.known(keep_counts) or self._measure(keep_counts)
        return self._asked.setdefault(_key(keep_counts), line)

    def fresh(self, plans: Sequence[KeepCounts]) -> Sitting:
        """Each plan against the dense network, all in one new sitting; only an interrupted search finds it again."""
        spec = self.spec.model_copy(update={"processes": max(FRESH_PROCESSES, self.spec.processes)})
        log = self.folder / "sittings.jsonl"
        for sitting in read_json_lines(Sitting, log):
            asked = (sitting.device_spec, sitting.spec, sitting.plans) == (self.device_spec, spec, tuple(plans))
            if asked and (sitting.device_id, sitting.runtime) == (self.device.id, self.runtime):
                return sitting
        result = self.sit(plans, spec)
        self.require_believed(result, plans)
        sitting = Sitting(
            device_spec=self.device_spec,
            device_id=self.device.id,
            runtime=result.measurements[0].runtime,
            spec=spec,
            plans=tuple(dict(plan) for plan in plans),
            dense_ms=result.measurements[0].median_ms,
            started_at=result.measurements[0].started_at,
            comparisons=result.comparisons,
        )
        append_json_line(log, sitting)
        return sitting

    @contextmanager
    def exported(self, keep_counts: KeepCounts) -> Iterator[Path]:
        """The network's TFLite file, for as long as the block lasts."""
        (file,) = self._export([keep_counts])
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    def sit(self, plans: Sequence[KeepCounts], spec: BenchSpec) -> ComparisonResult:
        """The plans against the dense network in one new sitting; nothing is looked up or written down."""
        assert self.device  # refuses a kind of device that must not pay a reward
        files = self._export(plans)
        try:
            return self.compare_with_dense(files, spec)
        finally:
            for file in files:
                file.unlink(missing_ok=True)

    def compare_with_dense(self, files: Sequence[Path], spec: BenchSpec) -> ComparisonResult:
        return device_bench.compare([self._dense_file, *files], device=self.device_spec, spec=spec)

    def _measure(self, keep_counts: KeepCounts) -> MeasuredPlan:
        result = self.sit([keep_counts], self.spec)
        self.require_believed(result, [keep_counts])
        dense, measurement = result.measurements
        (comparison,) = result.comparisons
        line = MeasuredPlan(
            keep_counts=dict(keep_counts),
            device_spec=self.device_spec,
            device=measurement.device,
            runtime=measurement.runtime,
            spec=self.spec,
            latency_ms=measurement.median_ms,
            dense_ms=dense.median_ms,
            ratio=comparison.ratio,
            noise_floor=comparison.noise_floor,
            processes=len(measurement.latency_ms.processes),
            rejected=put_aside(measurement),
            unstable=next(iter(measurement.rejections), None),
            started_at=measurement.started_at,
        )
        append_json_line(self.log, line)
        self._known[_key(keep_counts)] = line
        return line

    def _export(self, plans: Sequence[KeepCounts]) -> list[Path]:
        jobs = [
            self._exporter.submit(plan, self.workspace / f"candidate-{index}.tflite")
            for index, plan in enumerate(plans)
        ]
        return [job.result() for job in jobs]

    def require_believed(self, result: ComparisonResult, plans: Sequence[KeepCounts]) -> None:
        """Refuse a sitting that may not be rewarded, and write down which plans it was of.

        What is merely unstable is rewarded, and marked: its figure is known, only less well than was asked for.
        """
        bad = [measurement for measurement in result.measurements if not measurement.believed]
        if not bad:
            return
        reasons = tuple(dict.fromkeys(reason for measurement in bad for reason in measurement.rejections))
        if lasting := [reason for reason in reasons if reason.startswith(OF_THE_NETWORK)]:
            raise RewardRejectedError(
                f"{self.device_spec}: {'; '.join(lasting)}. The network itself causes this, so its latency here says "
                "little about one that runs whole on the delegate: replace those operations, choose another device, "
                "or let it count with search.bench.allow_partial: true"
            )
        for plan, measurement in zip(plans, result.measurements[1:], strict=False):
            line = RejectedPlan(
                keep_counts=dict(plan),
                device_spec=self.device_spec,
                spec=self.spec,
                reasons=reasons,
                processes=put_aside(measurement),
                started_at=measurement.started_at,
            )
            append_json_line(self._rejection_log, line)
            self._rejected.append(line)
        raise MeasurementRejectedError(
            f"{self.device_spec}: a measurement was rejected ({'; '.join(reasons)}); mend the cause (stop what else "
            "runs, let the device cool down) and run again: what is done stays done"
        )


def put_aside(measurement: Measurement) -> tuple[RejectedProcess, ...]:
    """The processes that were rejected, by what they measured of a model; samples are left out."""
    return tuple(one.model_copy(update={"samples": None}) for one in measurement.rejected)


def _key(keep_counts: KeepCounts) -> frozenset[tuple[str, int]]:
    return frozenset(keep_counts.items())
