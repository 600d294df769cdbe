"""Networks timed on a device: exported, measured beside the dense one, remembered on disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

import device_bench
from device_bench.records import BenchSpec, Comparison, ComparisonResult, DeviceInfo, DeviceKind, RuntimeInfo
from pipeline.errors import RewardRejectedError
from pipeline.export import TfliteConverter
from pipeline.export.candidates import CandidateExporter
from pipeline.pruning.channels import Scores
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import Record
from pipeline.run_folder import append_json_line, read_json_lines

KeepCounts = Mapping[str, int]
ATTEMPTS = 3
TOGETHER = 5
"""How many variants share one sitting with the dense network."""
FRESH_PROCESSES = 3
"""Processes of a measurement that a decision rests on: between processes the same file moves by some per cent."""
OF_THE_NETWORK = ("partially delegated", "not delegated", "wrong answer")
"""Rejections that another attempt cannot change."""


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


class Sitting(Record):
    """One line of `sittings.jsonl`: plans that a decision rests on, compared with the dense network together."""

    device_spec: str
    spec: BenchSpec
    plans: tuple[dict[str, int], ...]
    dense_ms: float
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
        return self._exporter.export({}, self.workspace / "dense.tflite")

    @functools.cached_property
    def _exporter(self) -> CandidateExporter:
        return CandidateExporter(self.converter, self.network, self.groups, self.scores, self.input_shape)

    @property
    def measurements(self) -> int:
        """How many networks have been measured for the search."""
        return len(self._known)

    def measure(self, keep_counts: KeepCounts) -> MeasuredPlan:
        return self.measure_many([keep_counts])[0]

    def measure_many(
        self, plans: Sequence[KeepCounts], on_result: Callable[[int], None] | None = None
    ) -> list[MeasuredPlan]:
        """Measure plans, TOGETHER at a time: export them all, then time them in one sitting."""
        missing = {_key(plan): plan for plan in plans}
        missing = {key: plan for key, plan in missing.items() if key not in self._known}
        names = list(missing)
        for first in range(0, len(names), TOGETHER):
            chunk = names[first : first + TOGETHER]
            self._measure_chunk([missing[key] for key in chunk])
            if on_result:
                on_result(min(first + TOGETHER, len(names)))
        return [self._known[_key(plan)] for plan in plans]

    def fresh(self, plans: Sequence[KeepCounts]) -> Sitting:
        """Each plan against the dense network, all in one new sitting; only an interrupted search finds it again."""
        spec = self.spec.model_copy(update={"processes": max(FRESH_PROCESSES, self.spec.processes)})
        log = self.log.with_name("sittings.jsonl")
        wanted = [dict(plan) for plan in plans]
        for sitting in read_json_lines(Sitting, log):
            if (sitting.device_spec, sitting.spec, list(sitting.plans)) == (self.device_spec, spec, wanted):
                return sitting
        files = self._export(plans)
        result = self._compare([self._dense_file, *files], spec)
        for file in files:
            file.unlink(missing_ok=True)
        sitting = Sitting(
            device_spec=self.device_spec,
            spec=spec,
            plans=tuple(wanted),
            dense_ms=result.measurements[0].median_ms,
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
                latency_ms=measurement.median_ms,
                dense_ms=dense.median_ms,
                ratio=comparison.ratio,
                noise_floor=comparison.noise_floor,
                started_at=measurement.started_at,
            )
            append_json_line(self.log, line)
            self._known[_key(plan)] = line
        for file in files:
            file.unlink(missing_ok=True)

    def _export(self, plans: Sequence[KeepCounts]) -> list[Path]:
        jobs = [
            self._exporter.submit(plan, self.workspace / f"candidate-{index}.tflite")
            for index, plan in enumerate(plans)
        ]
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
            if lasting := [reason for reason in rejections if reason.startswith(OF_THE_NETWORK)]:
                raise RewardRejectedError(
                    f"{self.device_spec}: {'; '.join(sorted(lasting))}. The network itself causes this, so its latency "
                    "here says little about one that runs whole on the delegate: replace those operations, or choose "
                    "another device"
                )
        raise RewardRejectedError(
            f"{self.device_spec}: {ATTEMPTS} measurements in a row were rejected ({'; '.join(sorted(rejections))}); "
            "mend the cause and run again: the search goes on where it stopped"
        )


def _key(keep_counts: KeepCounts) -> frozenset[tuple[str, int]]:
    return frozenset(keep_counts.items())
