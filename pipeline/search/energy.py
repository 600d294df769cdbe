"""What a network's inference costs in energy: measured once for each plan, modelled between.

A power pass takes from a quarter of a minute on the host to two minutes on a phone, so it is made at the end of every
episode alone; at the steps before it, energy is a model of the latency, which every measurement corrects. Modelled
energies are never stored as measured ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import device_bench
from device_bench.judge import is_transient
from device_bench.records import BenchSpec, DeviceInfo, Measurement, PowerUse, RuntimeInfo
from pipeline.config import Config
from pipeline.errors import RewardRejectedError
from pipeline.records import EnergyAnswer, EnergyResult, EnergySourceName, LatencySourceName, Record
from pipeline.run_folder import append_json_line, read_json_lines
from pipeline.search.cost import CostAnswer, CostSource, KeepCounts
from pipeline.search.meter import LatencyMeter

ATTEMPTS = 3
DENSE: Mapping[str, int] = {}
"""The plan that leaves every group whole."""
PRIOR = 0.01
"""Weight of the assumption that energy falls as latency does: that of a plan that saves a tenth of the latency."""


class MeasuredEnergy(Record):
    """One line of `energy.jsonl`: the energy of a network with these channel counts (none: dense) on one device."""

    keep_counts: dict[str, int]
    device_spec: str
    device: DeviceInfo
    runtime: RuntimeInfo
    spec: BenchSpec
    power: PowerUse
    rejected: tuple[str, ...]
    """Why the attempts before this one gave nothing that may be believed."""
    started_at: str


@dataclass
class EnergyMeter:
    """Measures the energy of networks on one device; equal plans once for each runtime (cache on disk)."""

    latency: LatencyMeter
    """Exports the networks, and says which device and spec; its sittings are not used."""
    log: Path
    """energy.jsonl"""
    _lines: list[MeasuredEnergy] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked = (self.latency.device_spec, self.spec)
        self._lines = [
            line for line in read_json_lines(MeasuredEnergy, self.log) if (line.device_spec, line.spec) == asked
        ]

    @property
    def spec(self) -> BenchSpec:
        """One process: the timing goes before a power pass, and is not what this is for."""
        return self.latency.spec.model_copy(update={"processes": 1, "precision": None})

    @property
    def measurements(self) -> int:
        return len(self._lines)

    def measure(self, keep_counts: KeepCounts) -> MeasuredEnergy:
        """The plan's energy, from the log if it is there."""
        known = self._find(keep_counts, None)
        return known or self._take(keep_counts)

    def dense(self, runtime: RuntimeInfo) -> MeasuredEnergy:
        """The dense network's, under the same runtime: of two versions the ratio would be that of the versions too."""
        known = self._find(DENSE, runtime)
        return known or self._take(DENSE)

    def ratio(self, keep_counts: KeepCounts) -> float:
        """The plan's energy over the dense network's."""
        plan = self.measure(keep_counts)
        return plan.power.energy_per_inference_mj / self.dense(plan.runtime).power.energy_per_inference_mj

    def _find(self, keep_counts: KeepCounts, runtime: RuntimeInfo | None) -> MeasuredEnergy | None:
        device_id = self.latency.device.id
        for line in reversed(self._lines):
            if (line.keep_counts, line.device.id) == (dict(keep_counts), device_id) and runtime in (None, line.runtime):
                return line
        return None

    def _take(self, keep_counts: KeepCounts) -> MeasuredEnergy:
        """Measure, again up to ATTEMPTS times while nothing comes of it that may be believed; then write it down."""
        reasons: list[str] = []
        with self.latency.exported(keep_counts) as file:
            for _ in range(ATTEMPTS):
                measured = device_bench.benchmark(file, self.latency.device_spec, self.spec, power=True)
                power = believed(measured)
                if isinstance(power, PowerUse):
                    return self._keep(keep_counts, measured, power, reasons)
                reasons += power
                if not all(map(is_transient, measured.rejections)):
                    break
        found = "; ".join(dict.fromkeys(reasons))
        raise RewardRejectedError(
            f"search.reward.energy: {self.latency.device_spec} gave no energy that may be believed "
            f"({found}); mend the cause (unplug a charger, stop what else runs) and run again, "
            "the search goes on where it stopped; or search on another device, or set search.reward.energy to 0"
        )

    def _keep(
        self, keep_counts: KeepCounts, measured: Measurement, power: PowerUse, rejected: Sequence[str]
    ) -> MeasuredEnergy:
        line = MeasuredEnergy(
            keep_counts=dict(keep_counts),
            device_spec=self.latency.device_spec,
            device=measured.device,
            runtime=measured.runtime,
            spec=self.spec,
            power=power,
            rejected=tuple(rejected),
            started_at=measured.started_at,
        )
        append_json_line(self.log, line)
        self._lines.append(line)
        return line


def believed(measured: Measurement) -> PowerUse | list[str]:
    """The measurement's power, or why it must not be rewarded.

    An interval that reaches down to zero is no energy: the load cannot be told from idling, and a ratio to it, or an
    inference that seems to cost nothing, would be an unbeatable reward.
    """
    if measured.rejections:
        return list(measured.rejections)
    if measured.power is None:
        return [measured.missing["power"]]
    low_mj, high_mj = measured.power.ci95
    if not 0.0 < low_mj <= high_mj < math.inf:
        return [f"an inference takes {low_mj:.3g} to {high_mj:.3g} mJ: not told from idling"]
    return measured.power


class EnergyModel:
    """energy ratio = (latency ratio)^k, k fitted by least squares on the logarithms of what was measured.

    A power goes through the dense network's point, 1 and 1, and gives no plan an energy of nothing, as a line through
    the measured points could. Without measurements k is 1: the power under load stays as it is.
    """

    def __init__(self) -> None:
        self._products, self._squares = PRIOR, PRIOR

    def observe(self, latency_ratio: float, energy_ratio: float) -> None:
        log_latency = math.log(latency_ratio)
        self._products += log_latency * math.log(energy_ratio)
        self._squares += log_latency**2

    def ratio(self, latency_ratio: float) -> float:
        """The energy of a network with this latency; it never falls while latency rises."""
        return math.pow(latency_ratio, max(self._products / self._squares, 0.0))


@dataclass
class EnergyAndLatency:
    """A latency source whose answers hold energy as well: modelled at a step, measured at the end of an episode.

    With several devices the answer is that of the device with the highest share of its dense energy.
    """

    latency: CostSource
    meters: Sequence[EnergyMeter]
    share: float
    """How much of the reward's cost term is energy."""
    target_ratio: float | None
    """None takes the share of the latency that the target allows."""
    models: Sequence[EnergyModel] = field(init=False)

    def __post_init__(self) -> None:
        self.models = [EnergyModel() for _ in self.meters]

    def step(self, keep_counts: KeepCounts) -> CostAnswer:
        answer = self.latency.step(keep_counts)
        return self._with(answer, [model.ratio(answer.ratio) for model in self.models], "model")

    def end(self, keep_counts: KeepCounts) -> CostAnswer:
        predicted = self.latency.step(keep_counts).ratio  # what the model is asked about at the steps
        answer = self.latency.end(keep_counts)
        return self._with(answer, self._observe(keep_counts, predicted), "measured")

    def recall(self, keep_counts: KeepCounts, source: LatencySourceName | None) -> None:
        predicted = self.latency.step(keep_counts).ratio
        self.latency.recall(keep_counts, source)
        self._observe(keep_counts, predicted)

    def result(self, keep_counts: KeepCounts, latency_target: float) -> EnergyResult:
        """What was measured of a plan; `latency_target` is the share of the dense latency that the target allows."""
        meter = max(self.meters, key=lambda meter: meter.ratio(keep_counts))
        plan = meter.measure(keep_counts)
        dense = meter.dense(plan.runtime).power
        return EnergyResult(
            device_spec=plan.device_spec,
            dense_mj=dense.energy_per_inference_mj,
            dense_ci95=dense.ci95,
            mj=plan.power.energy_per_inference_mj,
            ci95=plan.power.ci95,
            ratio=meter.ratio(keep_counts),
            target_ratio=self.target_ratio or latency_target,
            share=self.share,
            method=plan.power.method,
        )

    def _observe(self, keep_counts: KeepCounts, predicted: float) -> list[float]:
        ratios = [meter.ratio(keep_counts) for meter in self.meters]
        for model, ratio in zip(self.models, ratios, strict=True):
            model.observe(predicted, ratio)
        return ratios

    def _with(self, answer: CostAnswer, ratios: Sequence[float], source: EnergySourceName) -> CostAnswer:
        energy = EnergyAnswer(
            ratio=max(ratios),
            target_ratio=self.target_ratio or answer.target_ratio,
            share=self.share,
            source=source,
        )
        return answer.model_copy(update={"energy": energy})


def with_energy(source: CostSource, meters: Sequence[LatencyMeter], config: Config) -> EnergyAndLatency | None:
    """The latency source with energy beside it, the dense network's measured; None where it is not in the reward.

    Raises:
        RewardRejectedError: a device gives no energy, or none that may be believed.
    """
    search = config.search
    if not search.reward.energy:
        return None
    energy_meters = [EnergyMeter(meter, meter.log.with_name("energy.jsonl")) for meter in meters]
    for meter in energy_meters:
        meter.measure(DENSE)
    return EnergyAndLatency(source, energy_meters, search.reward.energy, search.target.energy)
