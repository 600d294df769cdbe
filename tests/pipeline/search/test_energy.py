"""Energy in the reward: measured once for each plan, modelled between, never taken from what cannot be believed."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import device_bench
from device_bench.devices import host
from device_bench.devices.fake import FakeDevice
from device_bench.records import BenchSpec, Measurement
from pipeline.config import Config, validate_config
from pipeline.errors import ConfigError, RewardRejectedError
from pipeline.export import TfliteConverter
from pipeline.preflight import check_devices
from pipeline.search import energy
from pipeline.search.cost import AIM
from pipeline.search.energy import DENSE, EnergyAndLatency, EnergyMeter, EnergyModel, believed, with_energy
from pipeline.search.latency import Measured
from pipeline.search_section import TargetSection
from tests.pipeline.search.test_latency import SPEC, meter

DEVICE = "fake://lab?mj_per_mb=5"
PLANS = ({"block.0": 8}, {"block.0": 16, "stem.0": 8}, {"block.0": 24})
ratios = st.floats(0.02, 1.0)


@pytest.fixture(scope="module")
def converter() -> Iterator[TfliteConverter]:
    with TfliteConverter() as running:
        yield running


def energy_meter(folder: Path, converter: TfliteConverter, device: str = DEVICE, **changes: object) -> EnergyMeter:
    return EnergyMeter(meter(folder, converter, device, **changes), folder / "energy.jsonl")


def source(folder: Path, converter: TfliteConverter, *devices: str, **changes: Any) -> EnergyAndLatency:
    meters = [meter(folder, converter, device) for device in devices or (DEVICE,)]
    energy_meters = [EnergyMeter(each, folder / "energy.jsonl") for each in meters]
    values = {"share": 0.5, "target_ratio": None, **changes}
    return EnergyAndLatency(Measured(meters, TargetSection(latency=0.5)), energy_meters, **values)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "energy.jsonl").read_text().splitlines()]


def asking_for_energy(**changes: Any) -> Config:
    search = {"reward": {"energy": 0.5}, "reward_from": ["fake", "host"]}
    return validate_config({"name": "x", "device": DEVICE, "search": search, **changes})


@given(points=st.lists(st.tuples(ratios, ratios), max_size=20), low=ratios, high=ratios)
def test_the_model_starts_at_dense_is_above_zero_and_never_falls(
    points: list[tuple[float, float]], low: float, high: float
) -> None:
    model = EnergyModel()
    for latency_ratio, energy_ratio in points:
        model.observe(latency_ratio, energy_ratio)
    low, high = sorted((low, high))
    assert model.ratio(1.0) == 1.0
    assert 0.0 < model.ratio(low) <= model.ratio(high) <= 1.0


@given(ratios)
def test_without_measurements_energy_goes_as_latency(latency_ratio: float) -> None:
    assert EnergyModel().ratio(latency_ratio) == pytest.approx(latency_ratio)


@given(power=st.floats(0.3, 2.0), measured=st.lists(st.floats(0.1, 0.6), min_size=1, max_size=10), asked=ratios)
def test_what_is_measured_corrects_the_model(power: float, measured: list[float], asked: float) -> None:
    model = EnergyModel()
    for latency_ratio in measured:
        model.observe(latency_ratio, latency_ratio**power)
    assert math.log(model.ratio(asked)) == pytest.approx(power * math.log(asked), rel=0.1, abs=1e-9)


def test_an_equal_plan_is_measured_once_also_after_a_restart(tmp_path: Path, converter: TfliteConverter) -> None:
    first = energy_meter(tmp_path, converter)
    ratio = first.ratio(PLANS[0])
    assert 0.0 < ratio < 1.0 and [line["keep_counts"] for line in lines(tmp_path)] == [PLANS[0], DENSE]
    assert energy_meter(tmp_path, converter).ratio(dict(PLANS[0])) == ratio and len(lines(tmp_path)) == 2
    energy_meter(tmp_path, converter, "fake://other?mj_per_mb=5").ratio(PLANS[0])
    energy_meter(tmp_path, converter, spec=SPEC.model_copy(update={"threads": 2})).ratio(PLANS[0])
    assert len(lines(tmp_path)) == 6
    assert first.measurements == 2 and not list(tmp_path.glob("candidate-*"))


def test_a_ratio_is_never_over_two_runtimes(
    tmp_path: Path, converter: TfliteConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    energy_meter(tmp_path, converter).ratio(PLANS[0])
    updated = changed(lambda m: {"runtime": m.runtime.model_copy(update={"version": "2"})})
    monkeypatch.setattr(energy.device_bench, "benchmark", updated)
    again = energy_meter(tmp_path, converter)
    again.ratio(PLANS[0])
    assert len(lines(tmp_path)) == 2
    again.ratio(PLANS[1])
    versions = [(line["keep_counts"], line["runtime"]["version"]) for line in lines(tmp_path)[2:]]
    assert versions == [(PLANS[1], "2"), (DENSE, "2")]


def changed(change: Callable[[Measurement], dict[str, Any]]) -> Callable[..., Measurement]:
    real = device_bench.benchmark

    def benchmark(*arguments: Any, **options: Any) -> Measurement:
        measured = real(*arguments, **options)
        return measured.model_copy(update=change(measured))

    return benchmark


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("fake://lab", "a fake device has none"),
        (DEVICE + "&charging=true", "a charger is attached"),
        (DEVICE + "&reject=too%20hot", "too hot"),
    ],
)
def test_what_cannot_be_believed_is_refused_before_the_search(
    tmp_path: Path, converter: TfliteConverter, device: str, reason: str
) -> None:
    meters = [meter(tmp_path, converter, device)]
    with pytest.raises(RewardRejectedError, match=rf"{reason}.*set search\.reward\.energy to 0"):
        with_energy(Measured(meters, TargetSection()), meters, asking_for_energy())
    assert not (tmp_path / "energy.jsonl").exists()
    without = validate_config({"name": "x"})
    assert with_energy(Measured(meters, TargetSection()), meters, without) is None


def test_a_failed_pass_is_repeated_and_what_was_refused_is_kept(
    tmp_path: Path, converter: TfliteConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([{"power": None, "missing": {"power": "the sampler was late"}}, {"rejections": ("throttled",)}])
    monkeypatch.setattr(energy.device_bench, "benchmark", changed(lambda measured: next(failures, {})))
    assert energy_meter(tmp_path, converter).measure(PLANS[0]).rejected == ("the sampler was late", "throttled")


def test_an_inference_that_seems_to_cost_nothing_is_no_reward(tmp_path: Path, converter: TfliteConverter) -> None:
    with meter(tmp_path, converter, DEVICE).exported(PLANS[0]) as file:
        measured = device_bench.benchmark(file, DEVICE, SPEC)
    assert measured.power is not None and believed(measured) == measured.power
    for interval in ((0.0, 0.0), (-0.1, 0.2), (math.nan, 1.0), (0.1, math.inf)):
        power = measured.power.model_copy(update={"ci95": interval})
        refused = believed(measured.model_copy(update={"power": power}))
        assert isinstance(refused, list) and "not told from idling" in refused[0]


def test_energy_is_modelled_at_a_step_and_measured_at_the_end(tmp_path: Path, converter: TfliteConverter) -> None:
    both = source(tmp_path, converter)
    step = both.step(PLANS[0])
    assert step.energy is not None and step.energy.source == "model"
    assert step.energy.ratio == pytest.approx(step.ratio) and step.energy.target_ratio == 0.5
    assert not (tmp_path / "energy.jsonl").exists()
    end = both.end(PLANS[0])
    assert end.energy is not None and end.energy.source == "measured"
    assert end.energy.ratio == both.meters[0].ratio(PLANS[0])
    result = both.result(PLANS[0], 0.5)
    assert result.ratio == pytest.approx(result.mj / result.dense_mj) == end.energy.ratio
    assert result.ci95[0] < result.mj < result.ci95[1] and result.dense_ci95[0] < result.dense_mj


def test_a_recalled_search_models_as_the_first_one_did(
    tmp_path: Path, converter: TfliteConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeDevice, "energy_mj", lambda self, model: model.path.stat().st_size ** 1.7)
    whole = source(tmp_path, converter)
    for plan in PLANS[:2]:
        whole.end(plan)
    stored, resumed = lines(tmp_path), source(tmp_path, converter)
    for plan in PLANS[:2]:
        resumed.recall(plan, "measured")
    assert resumed.step(PLANS[2]) == whole.step(PLANS[2]) and lines(tmp_path) == stored
    modelled = resumed.step(PLANS[2]).energy
    assert modelled is not None and modelled.ratio < 0.99 * resumed.step(PLANS[2]).ratio


def test_of_several_devices_the_highest_share_answers(tmp_path: Path, converter: TfliteConverter) -> None:
    both = source(tmp_path, converter, DEVICE, "fake://second?mj_per_mb=1", target_ratio=0.25)
    answer = both.end(PLANS[0]).energy
    assert answer is not None and answer.target_ratio == 0.25
    assert answer.ratio == max(each.ratio(PLANS[0]) for each in both.meters)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_plan_is_brought_to_the_costs_that_count(tmp_path: Path, converter: TfliteConverter, share: float) -> None:
    answer = source(tmp_path, converter, share=share, target_ratio=0.9).step(PLANS[0])
    by_latency, by_energy = answer.ratio / (AIM * 0.5), answer.ratio / (AIM * 0.9)
    assert answer.of_aim == pytest.approx(by_latency if share < 1 else by_energy)


@pytest.mark.parametrize("device", ["fake://lab", DEVICE + "&charging=true", "host"])
def test_a_device_without_energy_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(host, "connect", lambda spec: host.HostDevice(sysfs=tmp_path))  # without RAPL
    with pytest.raises(
        RewardRejectedError, match=r"search\.reward\.energy 0\.5: .* gives no energy \(.*another device"
    ):
        check_devices(asking_for_energy(device=device))
    check_devices(asking_for_energy())


def test_a_counter_that_stands_still_pays_no_reward(
    tmp_path: Path, converter: TfliteConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RAPL is there, and says that nothing was used: as some virtual machines do."""
    zone = tmp_path / "class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("energy_uj", "7"), ("max_energy_range_uj", "1000")):
        (zone / name).write_text(text)
    monkeypatch.setattr(host, "connect", lambda spec: host.HostDevice(sysfs=tmp_path))
    monkeypatch.setattr(host, "IDLE_S", 1.3)
    monkeypatch.setattr(host, "LOAD_S", 2.6)
    monkeypatch.setattr(energy, "ATTEMPTS", 1)
    check_devices(asking_for_energy(device="host"))
    spec = BenchSpec(warmup_runs=0, timed_runs=1, min_seconds=0.0)
    with pytest.raises(RewardRejectedError, match="an inference takes 0 to 0 mJ"):
        energy_meter(tmp_path, converter, "host", spec=spec, reward_from=("host",)).measure(DENSE)


def test_a_target_of_energy_that_does_not_count_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"target\.energy 0\.3 is given, and reward\.energy is 0"):
        validate_config({"name": "x", "search": {"target": {"energy": 0.3}}})
    counted = {"target": {"energy": 0.3}, "reward": {"energy": 1}}
    assert validate_config({"name": "x", "search": counted}).search.target.latency == 0.5
