"""What a network costs on the device: measured there, asked of the latency table, or both.

Every measurement is interleaved with the dense network in the same sitting, so that a machine that slows down slows
both: the ratio is what the search learns from. With several devices the answer is the one that is worst for the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.errors import MeasurementRejectedError
from pipeline.records import LatencySourceName
from pipeline.search.cost import CostAnswer, KeepCounts, worst
from pipeline.search.latency_table import LatencyModel, TableError
from pipeline.search.meter import LatencyMeter
from pipeline.search_section import TargetSection


def target_ratio(target: TargetSection, dense_ms: float) -> float:
    """The share of the dense latency that the target allows on a device where the dense network takes `dense_ms`.

    All of it, where something else shall be saved.
    """
    if target.cost != "latency":
        return 1.0
    if target.latency is not None:
        return target.latency
    wanted_ms = target.latency_ms if target.latency_ms is not None else 1000.0 / (target.fps or 1.0)
    return wanted_ms / dense_ms


@dataclass
class Measured:
    """Every answer is a measurement on the devices."""

    meters: Sequence[LatencyMeter]
    target: TargetSection

    def step(self, keep_counts: KeepCounts) -> CostAnswer:
        plans = [meter.measure(keep_counts) for meter in self.meters]
        return worst([_answer(p.ratio, p.dense_ms, self.target, "measured") for p in plans])

    def end(self, keep_counts: KeepCounts) -> CostAnswer:
        return self.step(keep_counts)

    def recall(self, keep_counts: KeepCounts, source: LatencySourceName | None) -> None:
        """Nothing to learn: the answers are in the meters' logs."""


@dataclass
class Tabled:
    """Every answer is the latency table's: repeatable, and cheap."""

    models: Sequence[LatencyModel]
    target: TargetSection

    def step(self, keep_counts: KeepCounts) -> CostAnswer:
        answers = [_answer(m.ratio(keep_counts), m.table.dense_ms, self.target, "table") for m in self.models]
        return worst(answers)

    def end(self, keep_counts: KeepCounts) -> CostAnswer:
        return self.step(keep_counts)

    def recall(self, keep_counts: KeepCounts, source: LatencySourceName | None) -> None:
        """Nothing to learn: the table stays as it is."""


@dataclass
class Hybrid:
    """The table at every step, a measurement at the end of every episode, which also corrects the table.

    Where a measurement is rejected, the table answers instead and learns nothing: what is not to be believed is not
    rewarded, and a search of hours does not end because somebody used the machine for a minute.
    """

    tabled: Tabled
    measured: Measured
    errors: list[float] = field(default_factory=list)
    """What the table said of each plan before it was measured: predicted / measured - 1, on the worst device."""
    _learned: set[frozenset[tuple[str, int]]] = field(default_factory=set)

    def step(self, keep_counts: KeepCounts) -> CostAnswer:
        return self.tabled.step(keep_counts)

    def end(self, keep_counts: KeepCounts) -> CostAnswer:
        try:
            answer = self.measured.end(keep_counts)
        except MeasurementRejectedError:
            return self.tabled.end(keep_counts)
        self._correct(keep_counts)
        return answer

    def recall(self, keep_counts: KeepCounts, source: LatencySourceName | None) -> None:
        if source == "measured":
            self._correct(keep_counts)

    def _correct(self, keep_counts: KeepCounts) -> None:
        """Learn from the plan's measurement; a plan that is met again has no second one."""
        plan = frozenset(keep_counts.items())
        if plan in self._learned:
            return
        self._learned.add(plan)
        missed = []
        for model, meter in zip(self.tabled.models, self.measured.meters, strict=True):
            ratio = meter.measure(keep_counts).ratio
            missed.append(model.ratio(keep_counts) / ratio - 1.0)
            model.observe(keep_counts, ratio)
        self.errors.append(max(missed, key=abs))

    def error(self) -> TableError | None:
        return TableError.of(self.errors) if self.errors else None


def _answer(ratio: float, dense_ms: float, target: TargetSection, source: LatencySourceName) -> CostAnswer:
    return CostAnswer(
        ratio=ratio,
        target_ratio=target_ratio(target, dense_ms),
        latency_ms=ratio * dense_ms,
        dense_ms=dense_ms,
        source=source,
    )
