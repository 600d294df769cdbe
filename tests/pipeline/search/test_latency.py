"""Where latency comes from: measured once, never from a device that must not pay, the worst of several devices."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_bench.records import BenchSpec
from pipeline.config import PruningSection
from pipeline.errors import MeasurementRejectedError, RewardRejectedError
from pipeline.export import TfliteConverter
from pipeline.pruning.costs import trace_shape
from pipeline.pruning.groups import find_groups, prunable
from pipeline.pruning.importance import group_scores
from pipeline.search.cost import AIM, CostAnswer
from pipeline.search.latency import Hybrid, Measured, Tabled, target_ratio
from pipeline.search.latency_table import LatencyModel
from pipeline.search.meter import LatencyMeter
from pipeline.search.profile import Profiler
from pipeline.search_section import ProfileSection, TargetSection
from tests.pipeline.tiny_run import TinyNet

SHAPE = (3, 16, 16)
SPEC = BenchSpec(warmup_runs=0, timed_runs=1, min_seconds=0.0)
TARGET = TargetSection(latency=0.5)
FREE = PruningSection(round_to=4)


@pytest.fixture(scope="module")
def converter() -> Iterator[TfliteConverter]:
    with TfliteConverter() as running:
        yield running


def meter(folder: Path, converter: TfliteConverter, device: str = "fake://lab", **changes: object) -> LatencyMeter:
    network = TinyNet(10).eval()
    groups = prunable(find_groups(network, SHAPE, FREE))
    values: dict[str, object] = {
        "network": network,
        "groups": groups,
        "scores": group_scores(network, groups, "l1"),
        "input_shape": SHAPE,
        "device_spec": device,
        "spec": SPEC,
        "reward_from": ("fake",),
        "log": folder / "plans.jsonl",
        "folder": folder,
        "workspace": folder,
        "converter": converter,
    }
    return LatencyMeter(**{**values, **changes})  # type: ignore[arg-type]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "plans.jsonl").read_text().splitlines()]


def test_an_equal_plan_is_measured_once_also_after_a_restart(tmp_path: Path, converter: TfliteConverter) -> None:
    first = meter(tmp_path, converter)
    slim = first.measure({"stem.0": 8, "block.0": 16})
    assert 0 < slim.ratio < 1 and slim.device.kind == "fake"
    again = meter(tmp_path, converter).measure({"block.0": 16, "stem.0": 8})
    assert again == slim and len(lines(tmp_path)) == 1
    other_spec = meter(tmp_path, converter, spec=SPEC.model_copy(update={"threads": 2}))
    other_spec.measure({"stem.0": 8, "block.0": 16})
    meter(tmp_path, converter, "fake://other").measure({"stem.0": 8, "block.0": 16})
    assert len(lines(tmp_path)) == 3
    assert len(first.measured) == 1
    assert not list(tmp_path.glob("candidate-*"))


def test_a_device_that_must_not_pay_is_refused(tmp_path: Path, converter: TfliteConverter) -> None:
    with pytest.raises(RewardRejectedError, match=r"of kind 'fake', and search\.reward_from allows device, host"):
        meter(tmp_path, converter, reward_from=("device", "host")).measure({"block.0": 8})
    assert not (tmp_path / "plans.jsonl").exists()


def test_a_rejected_measurement_is_never_rewarded_and_is_kept(tmp_path: Path, converter: TfliteConverter) -> None:
    hot = meter(tmp_path, converter, "fake://lab?reject=too%20hot")
    with pytest.raises(MeasurementRejectedError, match=r"measurement was rejected \(too hot\)"):
        hot.measure({"block.0": 8})
    assert not (tmp_path / "plans.jsonl").exists()
    (kept,) = [json.loads(line) for line in (tmp_path / "rejections.jsonl").read_text().splitlines()]
    assert kept["keep_counts"] == {"block.0": 8} and kept["reasons"] == ["too hot"]
    again = meter(tmp_path, converter, "fake://lab?reject=too%20hot")
    assert [line.model_dump(mode="json") for line in again.rejected] == [kept]
    assert hot.known({"block.0": 8}) is None


def test_a_disturbed_process_is_repeated_and_counted(tmp_path: Path, converter: TfliteConverter) -> None:
    spec = SPEC.model_copy(update={"processes": 2})
    device = "fake://lab?reject=busy%3A%20others&reject_first=1"
    line = meter(tmp_path, converter, device, spec=spec).measure({"block.0": 8})
    assert (line.processes, line.unstable) == (2, None)
    (aside,) = line.rejected
    assert aside.reasons == ("busy: others",) and aside.median_ms is not None and aside.samples is None


def test_what_stays_unstable_is_rewarded_and_marked(tmp_path: Path, converter: TfliteConverter) -> None:
    spec = SPEC.model_copy(update={"precision": 1e-6, "max_processes": 3})
    line = meter(tmp_path, converter, "fake://lab?noise=0.05", spec=spec).measure({"block.0": 8})
    assert line.unstable is not None and line.unstable.startswith("unstable") and line.processes == 3


def test_what_another_runtime_measured_does_not_count(tmp_path: Path, converter: TfliteConverter) -> None:
    plan = {"block.0": 8}
    meter(tmp_path, converter).measure(plan)
    stored = json.loads((tmp_path / "plans.jsonl").read_text())
    stored["runtime"]["version"] = "older"
    (tmp_path / "plans.jsonl").write_text(json.dumps(stored) + "\n")
    fresh = meter(tmp_path, converter)
    assert fresh.known(plan) is None
    assert fresh.measure(plan).runtime.version == "fake" and len(lines(tmp_path)) == 2


def hybrid(folder: Path, converter: TfliteConverter, device: str) -> Hybrid:
    table_folder = folder / "table"
    table_folder.mkdir(exist_ok=True)
    profiled = meter(table_folder, converter)
    shape = trace_shape(profiled.network, find_groups(profiled.network, SHAPE, FREE), SHAPE)
    settings = ProfileSection(fit_variants=8, check_variants=2, layers=False)
    table = Profiler(profiled, shape, FREE, settings, lambda what, done, total: None).build(0)
    return Hybrid(Tabled([LatencyModel(shape, table)], TARGET), Measured([meter(folder, converter, device)], TARGET))


def test_a_hybrid_is_paid_by_the_table_where_the_device_was_disturbed(
    tmp_path: Path, converter: TfliteConverter
) -> None:
    plan = {"block.0": 16}
    disturbed = hybrid(tmp_path, converter, "fake://lab?reject=busy%3A%20others")
    before = disturbed.step(plan)
    assert disturbed.end(plan) == before and before.source == "table"
    assert disturbed.errors == [] and disturbed.step(plan) == before
    resumed = hybrid(tmp_path, converter, "fake://lab?reject=busy%3A%20others")
    resumed.recall(plan, "table")
    assert resumed.step(plan) == before and resumed.error() is None


def test_a_hybrid_learns_from_what_it_measures_and_again_when_it_is_resumed(
    tmp_path: Path, converter: TfliteConverter
) -> None:
    plan, other = {"block.0": 16}, {"block.0": 20}
    first = hybrid(tmp_path, converter, "fake://lab?ms_per_mb=3")
    unlearned = first.step(other)
    end = first.end(plan)
    assert end.source == "measured" and len(first.errors) == 1 and first.error() is not None
    resumed = hybrid(tmp_path, converter, "fake://lab?ms_per_mb=3")
    assert resumed.step(other) == unlearned
    resumed.recall(plan, "measured")
    assert resumed.step(other) == first.step(other) and resumed.errors == first.errors
    assert len(lines(tmp_path)) == 1
    learned = first.step(other)
    assert first.end(plan) == end
    assert len(first.errors) == 1 and first.step(other) == learned  # one measurement teaches once


def test_a_sitting_that_decided_is_found_again_after_a_restart(tmp_path: Path, converter: TfliteConverter) -> None:
    plans = [{"block.0": 8}, {"block.0": 16}]
    sitting = meter(tmp_path, converter).fresh(plans)
    assert [c.ratio for c in sitting.comparisons] == sorted(c.ratio for c in sitting.comparisons)
    assert sitting.spec.processes == 3 and sitting.dense_ms > 0
    # Here the answer is read: the device would now give another one.
    again = meter(tmp_path, converter, "fake://lab", spec=SPEC).fresh(plans)
    assert again == sitting
    log = tmp_path / "sittings.jsonl"
    log.write_text(log.read_text().replace('"version": "fake"', '"version": "older"'))
    assert meter(tmp_path, converter).fresh(plans).started_at != sitting.started_at
    assert not (tmp_path / "plans.jsonl").exists()


def test_what_lies_in_the_network_is_not_tried_again(tmp_path: Path, converter: TfliteConverter) -> None:
    device = "fake://lab?reject=partially%20delegated%3A%202%20of%205"
    with pytest.raises(RewardRejectedError, match=r"partially delegated: 2 of 5\. The network itself causes this"):
        meter(tmp_path, converter, device).measure({"block.0": 8})


def test_of_several_devices_the_one_that_misses_most_answers(tmp_path: Path, converter: TfliteConverter) -> None:
    slow, fast = "fake://slow?ms_per_mb=100", "fake://fast"
    target = TargetSection(latency_ms=0.1)
    meters = [meter(tmp_path, converter, device) for device in (fast, slow)]
    answer = Measured(meters, target).step({"block.0": 8})
    assert answer.latency_ms == pytest.approx(meters[1].measure({"block.0": 8}).latency_ms, rel=1e-6)
    assert answer.source == "measured" and answer.shortfall > 0


def test_targets_are_shares_of_the_dense_latency() -> None:
    assert target_ratio(TargetSection(latency=0.3), 8.0) == 0.3
    assert target_ratio(TargetSection(latency_ms=2.0), 8.0) == 0.25
    assert target_ratio(TargetSection(fps=250), 8.0) == 0.5
    answer = CostAnswer(ratio=0.5 * AIM, latency_ms=4.0 * AIM, dense_ms=8.0, target_ratio=0.5, source="table")
    assert answer.of_aim == pytest.approx(1.0) and answer.shortfall == pytest.approx(0.0)
    assert answer.model_copy(update={"target_ratio": 2.0}).shortfall == 0.0
