"""One row for each thing that was measured, with what must be known before it may be compared with another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from device_bench.records import Comparison, Measurement
from pipeline.records import Artifact
from pipeline.report.results import ArtifactResult, Results, VariantResult

PLAIN, SPARSE = "fp32", "fp32-sparse"
Status = Literal["passed", "unchecked", "unmeasured", "rejected", "failed"]


@dataclass(frozen=True)
class Speedup:
    """How many times faster than the dense network of the same format and precision, on the same device."""

    factor: float
    ci95: tuple[float, float] | None
    """None where the two were not timed interleaved, so that their ratio has no honest interval."""
    comparison: Comparison | None


@dataclass(frozen=True)
class Row:
    """One artifact on one device. `artifact` is None before export, `measurement` where nothing was timed."""

    variant: VariantResult
    artifact: Artifact | None
    measurement: Measurement | None
    speedup: Speedup | None = None
    speedup_missing: str = ""

    @property
    def label(self) -> str:
        return (
            f"{self.variant.name} {self.artifact.format} {self.artifact.precision}"
            if self.artifact
            else self.variant.name
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the row must not be ranked; empty where it may."""
        if self.artifact is None:
            return ()
        found = []
        if self.artifact.parity.passed is False:
            found.append(
                f"failed parity: {self.artifact.parity.reason or 'outputs differ from the network it was made from'}"
            )
        if fault := self.artifact.missing.get("delegation"):
            found.append(f"delegation {fault}" if fault.startswith("not checked") else fault)
        if self.measurement and not self.measurement.believed:
            found.append(f"measurement rejected: {', '.join(self.measurement.rejections)}")
        if self.measurement and self._is_another_file(self.artifact, self.measurement):
            found.append("measurement rejected: the measured file is not the exported one (hash differs)")
        return tuple(found)

    @property
    def marks(self) -> tuple[str, ...]:
        """What is said beside its figures although they hold: that they are known less exactly than was asked for."""
        return self.measurement.rejections if self.measurement and self.measurement.believed else ()

    @staticmethod
    def _is_another_file(artifact: Artifact, measurement: Measurement) -> bool:
        return artifact.sha256 != measurement.artifact.sha256

    @property
    def status(self) -> Status:
        if self.artifact is None:
            return "unmeasured"
        if self.artifact.parity.passed is False:
            return "failed"
        if self.problems:
            return "rejected"
        if self.measurement is None:
            return "unmeasured"
        return "passed" if self.artifact.parity.passed else "unchecked"

    @property
    def ranked(self) -> bool:
        """Whether its latency may stand beside others: measured, believed, and not known to compute something else."""
        return self.status in ("passed", "unchecked") and self.median_ms is not None

    @property
    def median_ms(self) -> float | None:
        """The median, or None where it is no time: neither measured, nor finite, nor above zero."""
        if self.measurement is None:
            return None
        median = self.measurement.latency_ms.median
        return median if median is not None and math.isfinite(median) and median > 0 else None

    @property
    def top1(self) -> float | None:
        return self.artifact.evaluation.top1 if self.artifact and self.artifact.evaluation else None

    @property
    def unmeasured_reason(self) -> str:
        if self.artifact is None:
            return "not exported yet"
        reason = self.artifact.missing.get("measurement")
        if reason is None and self.artifact.format == "coreml":
            reason = "Core ML files are not timed: no device of the run runs them"
        return reason or "no measurement of it is stored"


def build_rows(results: Results) -> tuple[Row, ...]:
    """All rows, variants in their own order, each with its speed-up over dense or why it has none."""
    rows = [row for variant in results.variants for row in _variant_rows(variant)]
    return tuple(_with_speedup(row, rows, results) for row in rows)


def _variant_rows(variant: VariantResult) -> list[Row]:
    if not variant.artifacts:
        return [Row(variant, None, None)]
    return [Row(variant, result.artifact, measured) for result in variant.artifacts for measured in _or_none(result)]


def _or_none(result: ArtifactResult) -> tuple[Measurement | None, ...]:
    return result.measurements or (None,)


def _with_speedup(row: Row, rows: list[Row], results: Results) -> Row:
    if row.variant.name == "dense":
        reason = next(iter(row.problems), row.unmeasured_reason if row.measurement is None else "")
        return Row(row.variant, row.artifact, row.measurement, None, reason)
    found = _speedup(row, rows, results)
    if isinstance(found, str):
        return Row(row.variant, row.artifact, row.measurement, None, found)
    return Row(row.variant, row.artifact, row.measurement, found)


def _speedup(row: Row, rows: list[Row], results: Results) -> Speedup | str:
    if row.measurement is None or row.artifact is None:
        return row.unmeasured_reason
    if row.problems:
        return row.problems[0]
    dense = next((other for other in rows if _is_dense_twin(other, row)), None)
    if dense is None or dense.artifact is None:
        return "no dense network of this format and precision was measured on this device"
    if not dense.ranked:
        reasons = "; ".join(dense.problems) or "its median is no time"
        return f"no dense network to compare with: {reasons}"
    devices = {other.measurement.device.id for other in rows if other.measurement}
    comparison = _comparison(results, dense, row, devices)
    if comparison:
        low, high = comparison.ci95
        return Speedup(1 / comparison.ratio, (1 / high, 1 / low), comparison)
    if dense.median_ms is None or row.median_ms is None:
        return "its median is no time"
    return Speedup(dense.median_ms / row.median_ms, None, None)


def _is_dense_twin(other: Row, row: Row) -> bool:
    if not (other.artifact and row.artifact and other.measurement and row.measurement):
        return False
    # The dense network has no zeros to leave out: a sparse file is compared with the plain one of its precision.
    precision = row.artifact.precision.removesuffix("-sparse")
    return (
        other.variant.name == "dense"
        and (other.artifact.format, other.artifact.precision) == (row.artifact.format, precision)
        and other.measurement.device.id == row.measurement.device.id
        and other.measurement.spec == row.measurement.spec
    )


def _comparison(results: Results, dense: Row, row: Row, devices: set[str]) -> Comparison | None:
    """The interleaved comparison of the two, if there is one that is surely of this device."""
    if dense.artifact is None or row.artifact is None or row.measurement is None:
        return None
    for result in results.comparisons:
        compared = {measurement.device.id for measurement in result.measurements} or devices
        if compared != {row.measurement.device.id}:
            continue
        for comparison in result.comparisons:
            named = (comparison.baseline, comparison.candidate) == (dense.artifact.path, row.artifact.path)
            if named and comparison.ratio > 0 and comparison.ci95[0] > 0:
                return comparison
    return None
