"""Loads of seconds over real adb: what minutes of them would show."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import device_bench
from device_bench.adb.connection import AdbConnection
from device_bench.adb.jobs import DetachedJob
from device_bench.endurance import SustainedRun
from device_bench.litert import WINDOW
from device_bench.records import BenchSpec
from device_bench.shell import Finished
from tests.device_bench.devices.test_adb import clean
from tests.rig.device import RigDevice

SPEC = BenchSpec(warmup_runs=1)


def sustained(device: RigDevice, model: Path, seconds: float) -> SustainedRun:
    (run,) = device_bench.sustained([model], device.spec, SPEC, minutes=seconds / 60)
    return run


def test_a_board_runs_on_without_gaps_though_the_link_is_lost(rig_device: RigDevice, tiny_tflite: Path):
    cables = [threading.Timer(2.0, rig_device.link_down), threading.Timer(4.0, rig_device.link_up)]
    for cable in cables:
        cable.start()
    try:
        run = sustained(rig_device, tiny_tflite, 6)
    finally:
        for cable in cables:
            cable.join()
    assert len(run.windows) >= 10 and run.windows[-1].end_s >= 6
    assert run.idle_s < 0.1 * run.windows[-1].end_s and run.sustained_fps
    assert all(window.median_ms for window in run.windows)
    assert clean(rig_device)


def test_a_phone_that_throttles_is_seen_to_slow_down(rig_device: RigDevice, tiny_tflite: Path):
    rig_device.personality("pixel")
    cool = sustained(rig_device, tiny_tflite, 1)
    assert cool.throttled is False and cool.windows[0].freq_mhz == 2400
    rig_device.personality("throttling")
    hot = sustained(rig_device, tiny_tflite, 6)
    first, last = hot.windows[0], hot.windows[-1]
    assert hot.throttled is True and hot.sensor == "skin"
    assert hot.start_c is not None and last.temperature_c is not None and last.temperature_c > hot.start_c + 5
    assert last.freq_mhz is not None and last.freq_mhz < 2000
    assert last.median_ms is not None and cool.windows[0].median_ms is not None
    assert last.median_ms > 1.5 * cool.windows[0].median_ms
    assert hot.drop is not None and "run of benchmark_model" in hot.method
    assert hot.idle_s > 0 and first.n > 0 and not hot.rejections
    assert clean(rig_device)


def test_an_interrupt_keeps_the_windows_and_leaves_nothing_there(
    rig_device: RigDevice, tiny_tflite: Path, monkeypatch: pytest.MonkeyPatch
):
    collect = AdbConnection.collect

    def interrupted(self: AdbConnection, job: DetachedJob, timeout_s: float) -> Finished:
        if not job.folder.endswith("/sustained"):
            return collect(self, job, timeout_s)
        while self.pull(job.stdout_path).count(WINDOW.encode()) < 3:
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(AdbConnection, "collect", interrupted)
    done: list[SustainedRun] = []
    with pytest.raises(KeyboardInterrupt):
        device_bench.sustained([tiny_tflite], rig_device.spec, SPEC, minutes=0.1, on_result=done.append)
    assert len(done[0].windows) >= 2 and done[0].sustained_fps is None
    assert clean(rig_device)
