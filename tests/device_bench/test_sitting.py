"""The loop over processes: what is kept, what is repeated, and when it ends."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import device_bench
from device_bench import judge, sitting
from device_bench.assemble import assemble
from device_bench.device import Device, Job, JobResult, ModelRun, Observer
from device_bench.devices import open_device
from device_bench.judge import Subject
from device_bench.records import (
    ArtifactInfo,
    BenchSpec,
    DelegateUse,
    DeviceInfo,
    Measurement,
    Readiness,
    RuntimeInfo,
    kind_of,
)
from device_bench.sidecar import Golden
from device_bench.sitting import FIRST_LOOK, sit

PARTLY = DelegateUse(name="XNNPACK", partitions=2, nodes_delegated=5, nodes_total=6)
BUSY = "busy: other programs used 0.84 CPUs while it was timed (at most 0.10)"
SUBJECT = Subject(
    artifact=ArtifactInfo(path="m", sha256="0", format="tflite", precision=None, size_bytes=1),
    golden=Golden(inputs=(), outputs=(), max_rel_error=1e-3),
)


def model_run(ms: float = 1.0, delegate: DelegateUse | None = None, error: float = 0.0) -> ModelRun:
    return ModelRun(
        init_ms=1.0,
        first_ms=1.0,
        blocks=((ms,),),
        wall_s=ms / 1e3,
        golden_error=error,
        delegate=delegate,
        missing={} if delegate else {"delegate": "scripted"},
    )


def job_result(*models: ModelRun, rejections: Sequence[str] = ()) -> JobResult:
    return JobResult(
        runtime=RuntimeInfo(name="litert", version="0", runner="scripted"),
        models=models,
        memory=None,
        thermal=None,
        missing={"memory": "scripted", "thermal": "scripted"},
        rejections=tuple(rejections),
    )


class Scripted(Device):
    """Answers with these results in turn, and knows how often it was made ready and what it was told."""

    pause_s = 0.0

    def __init__(self, results: Sequence[JobResult]) -> None:
        self.results = list(results)
        self.seeds: list[int] = []
        self.prepared = 0

    def info(self) -> DeviceInfo:
        return DeviceInfo(id="s", kind="fake", model="scripted", os="none", abi="none")

    def check(self, model_path: Path, spec: BenchSpec) -> None:
        pass

    def prepare(self, readiness: Readiness) -> None:
        self.prepared += 1

    def run(self, job: Job) -> JobResult:
        self.seeds.append(job.seed)
        return self.results.pop(0)


def measured(device: Scripted, spec: BenchSpec, models: int = 1) -> list[Measurement]:
    sat = sit(device, spec, [SUBJECT] * models, "m")
    return [assemble(device.info(), sat, i) for i in range(models)]


GOOD = job_result(model_run())


@pytest.mark.parametrize("reason", ["throttled", BUSY, "stolen: 3%", "drifting: 5%", "bimodal: 10%", "screen went off"])
def test_a_disturbed_process_is_repeated_and_put_aside(reason: str):
    device = Scripted([GOOD, job_result(model_run(9.0), rejections=[reason]), GOOD])
    (found,) = measured(device, BenchSpec(processes=2))
    assert found.valid and found.latency_ms.samples == (1.0, 1.0) and found.fps == pytest.approx(1000)
    assert [(process.reasons, process.samples) for process in found.rejected] == [((reason,), (9.0,))]
    assert found.rejected[0].median_ms == 9.0 and found.started_at <= found.rejected[0].started_at
    assert device.prepared == 2, "it waits for the device once more"
    assert device.seeds == [0, 1, 2]


def test_a_process_whose_own_samples_tell_on_it_is_repeated():
    """Of 400 runs that get 10% slower from first to last."""
    drifting = tuple(1.0 + 0.1 * i / 400 for i in range(400))
    one = model_run().model_copy(update={"blocks": (drifting,), "wall_s": sum(drifting) / 1e3})
    (found,) = measured(Scripted([job_result(one), GOOD]), BenchSpec())
    assert found.valid and "drifting" in map(kind_of, found.rejected[0].reasons)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (job_result(model_run(delegate=PARTLY)), "partially delegated: XNNPACK took 5 of 6"),
        (job_result(model_run(delegate=PARTLY.model_copy(update={"partitions": 0}))), "not delegated: "),
        (job_result(model_run(error=0.5)), "wrong answer: "),
        (job_result(model_run(), rejections=["charging"]), "charging"),
    ],
)
def test_what_repeating_does_not_mend_ends_it_at_once(fault: JobResult, says: str):
    device = Scripted([fault])
    (found,) = measured(device, BenchSpec(processes=3, precision=0.01))
    assert not found.valid and not found.believed and found.rejections[0].startswith(says)
    assert found.latency_ms.median == 1.0 and len(found.rejected) == 1


def test_a_partly_delegated_network_counts_if_asked_for():
    (found,) = measured(
        Scripted([job_result(model_run(delegate=PARTLY))] * 2), BenchSpec(processes=2, allow_partial=True)
    )
    assert found.valid and found.delegate == PARTLY
    nothing = PARTLY.model_copy(update={"partitions": 0})
    (found,) = measured(Scripted([job_result(model_run(delegate=nothing))]), BenchSpec(allow_partial=True))
    assert not found.valid


def test_a_machine_that_stays_busy():
    busy = job_result(model_run(2.0), rejections=[BUSY])
    (found,) = measured(Scripted([busy, GOOD, *[busy] * 5]), BenchSpec(processes=3, max_processes=7))
    assert found.rejections == (f"{BUSY} (6 of 7 processes)",)
    assert found.latency_ms.samples == (1.0,), "figures of the good one"
    (found,) = measured(Scripted([busy] * 4), BenchSpec(processes=3, max_processes=4))
    assert found.rejections == (f"{BUSY} (4 of 4 processes)",)
    assert found.latency_ms.samples == (2.0,) * 4, "where none was good, of the rejected ones"


def test_processes_are_added_until_the_median_is_known_well_enough():
    levels = [1.0, 1.01, 0.99, 1.02, 0.98] * 4
    device = Scripted([job_result(model_run(ms)) for ms in levels])
    (found,) = measured(device, BenchSpec(precision=0.01))
    low, high = found.latency_ms.ci95
    assert found.valid and (high - low) / 2 <= 0.01 * found.median_ms
    assert FIRST_LOOK < len(found.latency_ms.processes) < 20
    (exact,) = measured(Scripted([GOOD] * FIRST_LOOK), BenchSpec(precision=0.01))
    assert exact.valid


def test_a_median_that_stays_uncertain_is_unstable_and_keeps_its_figures():
    device = Scripted([job_result(model_run(ms)) for ms in (1.0, 1.2) * 10])
    (found,) = measured(device, BenchSpec(precision=0.01))
    assert not found.valid and found.believed
    assert found.rejections == ("unstable: the median is known to 4.4% after 20 processes (1% was asked for)",)
    assert len(found.latency_ms.processes) == 20


def three(*latencies_ms: float, rejections: Sequence[str] = ()) -> JobResult:
    """A process of a baseline, candidates and the baseline's copy."""
    return job_result(*map(model_run, latencies_ms), rejections=rejections)


def test_a_comparison_is_about_its_ratios():
    """Latencies that move together are no uncertainty."""
    device = Scripted([three(ms, ms / 2, ms) for ms in (1.0, 1.5)])
    assert [found.valid for found in measured(device, BenchSpec(processes=2, precision=0.01), models=2)] == [True, True]
    device = Scripted([three(1.0, 0.5, ms, 1.0) for ms in (1.0, 1.4) * 3])
    spec = BenchSpec(processes=2, precision=0.01, max_processes=6)
    baseline, steady, unsteady = measured(device, spec, models=3)
    assert baseline.valid and steady.valid
    assert unsteady.rejections[0].startswith("unstable: the ratio is known to ") and unsteady.believed


def test_a_process_is_good_for_all_models_of_a_comparison_or_for_none(monkeypatch: pytest.MonkeyPatch):
    def of_the_slow_one(result: JobResult, model: ModelRun, golden: Golden | None, spec: BenchSpec) -> list[str]:
        return ["bimodal: 10%"] if model.blocks[0][0] > 5 else []

    monkeypatch.setattr(judge, "rejections", of_the_slow_one)
    for odd in (three(9.0, 1.0, 1.0), three(1.0, 9.0, 1.0), three(1.0, 1.0, 9.0)):
        found = measured(Scripted([odd, three(1.0, 1.0, 1.0)]), BenchSpec(), models=2)
        assert [len(one.rejected) for one in found] == [1, 1] and all(one.valid for one in found)


def test_a_candidate_that_is_rejected_for_good_leaves_the_others():
    partly = model_run(delegate=PARTLY)
    results = [job_result(model_run(), partly, model_run(0.5), model_run())] * 3
    baseline, split, other = measured(Scripted(results), BenchSpec(processes=3), models=3)
    assert baseline.valid and other.valid and split.rejections[0].startswith("partially delegated")
    baseline, split = measured(
        Scripted([job_result(model_run(), partly, model_run())]), BenchSpec(processes=3), models=2
    )
    assert split.rejections[0].startswith("partially delegated")
    assert baseline.rejections == ("unfinished: nothing was left to compare after 1 process",)


fates = st.sampled_from(["good", "slow", "throttled", BUSY, "bimodal: 10%", "charging", "wrong answer: 1"])


@given(
    st.lists(fates, min_size=30, max_size=30),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([None, 0.01, 0.2]),
    st.sampled_from([1, 2]),
)
def test_every_process_is_kept_or_rejected_in_its_order(fates, processes, most, precision, models):
    if precision and max(processes, most) < 2:
        most = 2
    spec = BenchSpec(processes=processes, max_processes=most, precision=precision)
    results = [
        job_result(
            *[model_run(1.5 if fate == "slow" else 1.0)] * (1 if models == 1 else 3),
            rejections=() if fate in ("good", "slow") else (fate,),
        )
        for fate in fates
    ]
    device = Scripted(results)
    sat = sit(device, spec, [SUBJECT] * models, "m")
    used = results[: len(results) - len(device.results)]
    assert len(used) == sat.count <= spec.most_processes
    assert [process.result for process in sat.kept] == [result for result in used if not result.rejections]
    assert [process.result for process in sat.rejected] == [result for result in used if result.rejections]
    assert device.seeds == list(range(sat.count))
    found = assemble(device.info(), sat)
    assert found.valid <= (len(sat.kept) >= processes)
    assert found.believed or found.rejections
    assert len(found.rejected) == len(sat.rejected)
    assert Measurement.model_validate_json(found.model_dump_json()) == found


class Listener(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def doing(self, text: str) -> None:
        self.heard.append(text)


def test_pauses_grow_while_processes_are_rejected_in_a_row(monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []
    monkeypatch.setattr(sitting.time, "sleep", waited.append)
    busy = job_result(model_run(), rejections=[BUSY])
    device, listener = Scripted([busy, busy, GOOD, *[busy] * 4, GOOD]), Listener()
    device.pause_s, device.observer = 1.0, listener
    measured(device, BenchSpec(processes=2))
    assert waited == [1, 2, 1, 2, 4, 4]
    assert f"m: {BUSY}; again in 2 s" in listener.heard
    assert listener.heard[-1] == "m: process 8 of at most 20"


def test_the_fake_device_scripts_it(tmp_path: Path):
    path = tmp_path / "model"
    path.write_bytes(b"x" * 2**20)
    found = device_bench.benchmark(path, "fake://lab?reject=busy&reject_first=2", BenchSpec(processes=2))
    assert found.valid and [kind_of(process.reasons[0]) for process in found.rejected] == ["busy", "busy"]
    noisy = device_bench.benchmark(path, "fake://lab?noise=0.05", BenchSpec(precision=0.01))
    assert noisy.rejections and noisy.believed
    with open_device("fake://lab?noise=0.05") as device:
        again = sit(device, BenchSpec(processes=20), [SUBJECT.model_copy(update={"artifact": noisy.artifact})], "m")
        assert assemble(device.info(), again).latency_ms == noisy.latency_ms


def test_unstable_marks_a_comparison_and_does_not_undo_its_verdict(tmp_path: Path):
    paths = [tmp_path / "base", tmp_path / "half"]
    for path, size in zip(paths, (2000, 1000), strict=True):
        path.write_bytes(b"x" * size)
    result = device_bench.compare(paths, "fake://lab?noise=0.05", BenchSpec(processes=3, precision=0.01))
    assert result.comparisons[0].verdict == "faster"
    assert kind_of(result.measurements[1].rejections[0]) == "unstable"
    result = device_bench.compare(paths, "fake://lab?reject=busy", BenchSpec(processes=3, max_processes=4))
    assert result.comparisons[0].verdict == "inconclusive"
    assert result.measurements[0].rejections == ("busy (4 of 4 processes)",)


def test_one_process_has_no_precision():
    with pytest.raises(ValidationError, match="one process has no interval; allow two or more"):
        BenchSpec(precision=0.01, max_processes=1)
    assert BenchSpec(precision=0.01, max_processes=1, processes=2).most_processes == 2
