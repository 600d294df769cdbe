"""What a run's files hold, as far as the report shows it: values that have no record which the report may import."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from device_bench.records import BenchSpec, DeviceInfo, NoiseFloor, RuntimeInfo
from pipeline.records import CostName, EnergyResult, Evaluation, WeightPlan


class Stored(BaseModel):
    """A value of a file that has no record of its own; keys that the report does not show are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Manifest(Stored):
    run: str
    started_at: str | None = None
    seed: int | None = None
    git_commit: str | None = None
    versions: dict[str, Any] = {}
    machine: dict[str, Any] = {}


class StageDone(Stored):
    seconds: float | None = None


class TableError(Stored):
    """Relative error of the latency table on variants that it was not fitted on."""

    median: float
    p90: float
    n: int
    worst: float | None = None


class LatencyTable(Stored):
    """One device's table. Latencies are over the dense network's, `dense_ms`."""

    device: DeviceInfo
    runtime: RuntimeInfo
    spec: BenchSpec
    built_at: str
    dense_ms: float
    points: tuple[Any, ...] = ()
    """The variants that it was fitted on; only their number is shown."""
    layers: tuple[Any, ...] = ()
    """The single layers that were timed; only their number is shown."""
    estimator: str | None = None
    """The one that was kept, of those in `errors`."""
    steps: dict[str, tuple[int, ...]] = {}
    """The right edges of each group's staircase, as channel counts."""
    staircases: dict[str, dict[int, float]] = {}
    """What the layers that write a group's channels cost, alone, by how many there are."""
    error: TableError | None = None
    errors: dict[str, TableError] = {}
    missing: dict[str, str] = {}


class LatencyTables(Stored):
    tables: tuple[LatencyTable, ...] = ()
    error: TableError | None = None
    """Of the device whose table is worst."""


class DeviceNoise(Stored):
    """What difference can be seen on a device under the search's spec; `missing` says why that is not known."""

    device: str
    floor: NoiseFloor | None = None
    missing: str = "the run stored no reason"


class RejectedPlan(Stored):
    """A network of the search whose measurement was rejected, and so never rewarded."""

    reasons: tuple[str, ...]
    processes: int


class Finalist(Stored):
    plan_id: str
    episode: int | None = None
    ratio: float | None
    """Of latency, measured afresh; None where weights were pruned."""
    cost_ratio: float
    """Of what the search was paid for; of latency the same again."""
    ci95: tuple[float, float] | None = None
    validation_top1: float | None = None


class Round(Stored):
    """One round of a search over weights: what it was to reach, and what its winner reached."""

    target_sparsity: float
    sparsity: float
    validation_top1: float
    episodes: int
    wall_s: float


class GreedyResult(Stored):
    ratio: float | None = None
    """Of what the search was paid for."""
    top1: float | None = None


class SearchSummary(Stored):
    agent: str
    reward: str
    cost: CostName
    """What the search was paid for."""
    latency_source: str | None
    """None where that was not latency."""
    episodes: int
    wall_s: float | None = None
    device_measurements: int | None = None
    latency_table_error: TableError | None = None
    hybrid_error: TableError | None = None
    """Of the table as the search corrected it, against the measurements that ended its episodes."""
    hybrid_errors: tuple[float, ...] = ()
    """Each of these, predicted / measured - 1, in the order in which they were made."""
    unstable_measurements: int | None = None
    repeated_processes: int | None = None
    rejected_measurements: tuple[RejectedPlan, ...] | None = None
    """None where the run's version did not keep them."""
    energy: EnergyResult | None = None
    dense_latency_ms: float | None = None
    target_ratio: float | None = None
    target_met: bool | None = None
    finalists: tuple[Finalist, ...] = ()
    rounds: tuple[Round, ...] = ()
    """Of a search over weights, in their order."""
    greedy: GreedyResult | None = None


class GroupCount(Stored):
    channels: int
    kept_count: int


class Top1Difference(Stored):
    """Top-1 of one network less that of another, compared image by image."""

    difference: float
    ci95: tuple[float, float] | None
    """None where the run stored none: it has not exported yet, or an older version wrote it."""
    n: int


class VariantRecord(Stored):
    """One network of `export/variants.json`."""

    name: str
    params: int | None = None
    """Zero weights are not counted."""
    macs: int | None = None
    """Those with zero weights are not counted."""
    sparsity: float | None = None
    """Share of zeros among the weights of convolutions and linear layers."""
    plan: str | None = None
    evaluation: Evaluation | None = None
    top1_lost: Top1Difference | None = None
    """Dense less this one."""
    top1_over: dict[str, Top1Difference] = {}
    """Of pruned: it less each control."""
    groups: dict[str, GroupCount] = {}
    """Where channels were pruned."""
    weights: dict[str, WeightPlan] = {}
    """Where weights were pruned: of every layer."""
