"""Sustained mode: what is kept of a load, by a device that tires, and by this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import device_bench
from device_bench.device import Job, JobModel, Missing
from device_bench.devices.fake import FakeDevice
from device_bench.endurance import MAX_WINDOWS, MIN_WINDOWS, SustainedRun, ranks, window_length_s
from device_bench.errors import TransientDeviceError, UsageError
from device_bench.load import LoadTrace, LoadWindow, SustainedLoad, in_turns
from device_bench.probes.heat import Heat, HeatReading


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(4) + b"TFL3" + bytes(2**20))
    return path


def windows(*fps: int) -> tuple[LoadWindow, ...]:
    """Of ten seconds each, from an uptime of 100 s on."""
    return tuple(
        LoadWindow(start_s=100 + 10 * i, end_s=110 + 10 * i, n=10 * rate, median_ms=None) for i, rate in enumerate(fps)
    )


def run_with(monkeypatch: pytest.MonkeyPatch, model: Path, load: SustainedLoad, minutes: float = 1) -> SustainedRun:
    monkeypatch.setattr(FakeDevice, "sustain", lambda self, job: load)
    done: list[SustainedRun] = []
    try:
        device_bench.sustained([model], "fake://x", minutes=minutes, on_result=done.append)
    except KeyboardInterrupt:
        assert load.trace.interrupted
    return done[0]


def test_a_device_that_tires_loses_what_it_loses(model: Path):
    (run,) = device_bench.sustained([model], "fake://x?tires=0.4", minutes=10)
    assert len(run.windows) == 60 and run.windows[-1].end_s == 600
    assert run.windows[-1].fps == pytest.approx(0.6 * run.cold_fps, rel=0.01)
    assert run.sustained_fps == pytest.approx(run.cold_fps * (1 - 0.4 * 49.5 / 59), rel=0.01)
    assert run.drop == pytest.approx(0.4 * 49.5 / 59, rel=0.01)
    assert run.device.kind == "fake" and run.idle_s == 0
    assert (
        run.missing["temperature_c"] == run.missing["freq_mhz"] == run.missing["throttled"] == "a fake device has none"
    )
    assert SustainedRun.model_validate_json(run.model_dump_json()) == run


def test_the_sustained_rate_is_that_of_the_last_third(monkeypatch: pytest.MonkeyPatch, model: Path):
    load = SustainedLoad(
        trace=LoadTrace(windows=windows(100, 90, 80, 70, 60, 50), interrupted=False, method="m"),
        heat=Missing(reason="no sensors"),
    )
    run = run_with(monkeypatch, model, load)
    assert (run.cold_fps, run.sustained_fps, run.drop) == (100, 55, pytest.approx(0.45))
    assert run.missing["median_ms"] == "the runner gives no median"


def test_a_window_has_the_reading_at_its_end_or_none(monkeypatch: pytest.MonkeyPatch, model: Path):
    readings = [HeatReading(uptime_s=t, temperature_c=c, freq_mhz=f) for t, c, f in ((99, 30, 500), (111, 41, 2400))]
    heat = Heat(sensor="skin", readings=tuple(readings), throttled=True)
    trace = LoadTrace(windows=windows(100, 50, 50, 50, 50, 50), interrupted=False, method="m")
    run = run_with(monkeypatch, model, SustainedLoad(trace=trace, heat=heat))
    assert [window.temperature_c for window in run.windows] == [41, 41, None, None, None, None]
    assert (run.start_c, run.sensor, run.throttled) == (30, "skin", True)
    assert run.missing["temperature_c"] and "start_c" not in run.missing
    assert not run.rejections  # it is what one wants to see


def test_an_interrupted_load_keeps_its_windows_and_claims_nothing_of_the_rest(
    monkeypatch: pytest.MonkeyPatch, model: Path
):
    trace = LoadTrace(windows=windows(100, 90), interrupted=True, method="m")
    run = run_with(monkeypatch, model, SustainedLoad(trace=trace, heat=Missing(reason="no sensors")))
    assert len(run.windows) == 2 and run.cold_fps == 100
    assert run.sustained_fps is None and run.drop is None
    assert run.missing["sustained_fps"] == "ended after 20 s of 60 s"


def test_an_interrupt_before_the_first_window_leaves_nothing(monkeypatch: pytest.MonkeyPatch, model: Path):
    load = SustainedLoad(trace=LoadTrace(windows=(), interrupted=True, method="m"), heat=Missing(reason="none"))
    monkeypatch.setattr(FakeDevice, "sustain", lambda self, job: load)
    done: list[SustainedRun] = []
    with pytest.raises(KeyboardInterrupt):
        device_bench.sustained([model, model], "fake://x", minutes=1, on_result=done.append)
    assert not done


def test_what_is_done_is_told_before_a_later_model_fails(monkeypatch: pytest.MonkeyPatch, model: Path):
    kept = FakeDevice.sustain
    calls: list[Job] = []

    def second_time_gone(self: FakeDevice, job: Job) -> SustainedLoad:
        calls.append(job)
        if len(calls) > 1:
            raise TransientDeviceError("gone")
        return kept(self, job)

    monkeypatch.setattr(FakeDevice, "sustain", second_time_gone)
    monkeypatch.setattr("device_bench.sitting.RETRY_AFTER_S", 0.0)
    done: list[SustainedRun] = []
    with pytest.raises(TransientDeviceError, match="tried 3 times"):
        device_bench.sustained([model, model], "fake://x", minutes=1, on_result=done.append)
    assert len(done) == 1 and len(calls) == 4


def test_every_model_is_tried_before_the_first_load(monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path):
    monkeypatch.setattr(FakeDevice, "sustain", lambda self, job: pytest.fail("a load was begun"))
    with pytest.raises(UsageError):
        device_bench.sustained([model, tmp_path / "absent.tflite"], "fake://x", minutes=1)


def test_a_rejected_model_says_so(model: Path):
    (run,) = device_bench.sustained([model], "fake://x?reject=too%20fake", minutes=1)
    assert run.rejections == ("too fake",)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1441])
def test_a_time_that_cannot_work_is_refused(model: Path, minutes: float):
    with pytest.raises(UsageError, match="give more than 0 and at most 1440"):
        device_bench.sustained([model], "fake://x", minutes=minutes)


@pytest.mark.parametrize("minutes", [0.001, 0.1, 1, 2, 10, 60, 1440])
def test_windows_are_ten_seconds_where_that_makes_neither_few_nor_many(minutes: float):
    length_s = window_length_s(minutes)
    count = 60 * minutes / length_s
    assert MIN_WINDOWS - 1e-6 <= count <= MAX_WINDOWS + 1e-6
    assert length_s == 10 or count == pytest.approx(MIN_WINDOWS) or count == pytest.approx(MAX_WINDOWS)


def test_ranks_leave_out_what_is_not_known():
    assert ranks([10.0, 30.0, None, 20.0, 30.0]) == [4, 1, None, 3, 1]


def test_turns_end_when_the_time_is_up_and_keep_what_an_interrupt_leaves(model: Path):
    job = Job(models=(JobModel(path=model),), warmup_runs=0, timed_runs=1, min_seconds=35, threads=1, timeout_s=1)
    ready = list(windows(1, 2, 3, 4, 5))
    full = in_turns(lambda: ready.pop(0), job, "m")
    assert [window.n for window in full.windows] == [10, 20, 30, 40] and not full.interrupted

    def interrupted_third() -> LoadWindow:
        if len(ready) == 1:
            raise KeyboardInterrupt
        return ready.pop(0)

    ready = list(windows(1, 2, 3))
    cut = in_turns(interrupted_third, job, "m")
    assert len(cut.windows) == 2 and cut.interrupted


def test_this_machine_is_kept_busy(tiny_tflite: Path):
    (run,) = device_bench.sustained([tiny_tflite], "host", minutes=1.2 / 60)
    assert run.runtime.runner == "litert_runner.py" and run.runtime.name == "litert"
    assert run.windows[-1].end_s >= 1.2 and run.sustained_fps
    assert all(window.median_ms and window.fps < 1e3 / window.median_ms * 1.5 for window in run.windows)
    assert run.idle_s < 0.2 * run.windows[-1].end_s
    assert json.loads(run.model_dump_json())["windows"][0]["start_s"] == 0
