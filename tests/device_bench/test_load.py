"""The near end of a load: what the runner says window by window, by whatever it is ended, and the sampler beside it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.coreml import CoreMLDevice
from device_bench.device import Job, JobModel, Missing
from device_bench.devices import mac
from device_bench.devices.host import HostDevice
from device_bench.errors import RunnerError
from device_bench.litert import WINDOW, read_load
from device_bench.load import LoadTrace, watched
from device_bench.probes.heat import Heat
from device_bench.process import BackgroundProcess
from device_bench.runners import litert_runner
from tests.device_bench.coreml_samples import ANSWER, XCODE, build_call, package, printed
from tests.device_bench.scripted_xcrun import ANY, ScriptedXcrun, scripted_xcrun

__all__ = ["scripted_xcrun"]


def job(path: Path, seconds: float = 1.0, window_s: float = 0.25) -> Job:
    return Job(
        models=(JobModel(path=path),),
        warmup_runs=1,
        timed_runs=1,
        min_seconds=seconds,
        window_s=window_s,
        threads=1,
        timeout_s=60,
    )


def line(start_s: float, **changes: object) -> str:
    return WINDOW + json.dumps({"start_s": start_s, "end_s": start_s + 1, "n": 5, "median_ms": 2.0, **changes}) + "\n"


def interrupted() -> tuple[str, str]:
    raise KeyboardInterrupt


def never() -> str:
    pytest.fail("it ended by itself and need not be stopped")


def test_both_ends_know_the_same_mark():
    assert WINDOW == litert_runner.WINDOW


def test_all_windows_of_a_load_that_came_to_its_end():
    trace = read_load(lambda: ("INFO: hello\n\n" + line(10) + "\n" + line(11), ""), never)
    assert [window.start_s for window in trace.windows] == [10, 11] and not trace.interrupted


def test_an_interrupt_keeps_what_was_told_in_full():
    trace = read_load(interrupted, lambda: line(10) + line(11)[:-5])
    assert [window.start_s for window in trace.windows] == [10] and trace.interrupted
    assert read_load(interrupted, lambda: "").windows == ()


@pytest.mark.parametrize(
    ("stdout", "message"),
    [
        ("", "ended without a window of load; it printed nothing"),
        ('POCKETPRUNE-RESULT {"refused": 1}\n', "without a window"),
        (WINDOW + "{\n", "cannot be read"),
        (line(10, n=0), "cannot be read"),
        (line(10, end_s=10), "cannot be read"),
        (line(10, median_ms=-1.0), "cannot be read"),
        (line(10, more=1), "cannot be read"),
    ],
)
def test_what_is_no_load_is_an_error(stdout: str, message: str):
    with pytest.raises(RunnerError, match=message):
        read_load(lambda: (stdout, ""), never)


@given(st.text(max_size=200).map(lambda text: WINDOW + text + "\n"))
def test_garbage_is_a_runners_error_and_no_other(stdout: str):
    with pytest.raises(RunnerError):
        read_load(lambda: (stdout, ""), never)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


def gone(pid: int) -> bool:
    deadline_s = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return not alive(pid)


def test_a_stopped_process_leaves_its_words_and_no_children():
    process = BackgroundProcess("it", ["sh", "-c", "sleep 60 & echo $!; echo said; wait"])
    text = ""
    while "said" not in text:
        text = os.pread(process._stdout.fileno(), 100, 0).decode()
    assert process.stop() == text and text.endswith("said\n")
    assert gone(int(text.split()[0]))


def test_a_process_that_ends_by_itself():
    process = BackgroundProcess("it", [sys.executable, "-c", "print(input()); raise SystemExit(3)"], "line\n")
    ended = process.wait(30)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "line\n", "")


def test_a_process_that_is_late_or_not_there():
    process = BackgroundProcess("it", ["sh", "-c", "echo first; sleep 60"])
    with pytest.raises(RunnerError, match=r"it took longer than 1 s and was killed; its last output:\n  first"):
        process.wait(1.0)
    with pytest.raises(RunnerError, match="it could not be started"):
        BackgroundProcess("it", ["no-such-program-anywhere"])


def test_the_host_reads_its_own_sensors_beside_the_load(tiny_tflite: Path, tmp_path: Path):
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("x86_pkg_temp\n")
    (zone / "temp").write_text("51000\n")
    load = HostDevice(sysfs=tmp_path).sustain(job(tiny_tflite))
    assert isinstance(load.heat, Heat) and load.heat.sensor == "x86_pkg_temp (thermal_zone0)"
    assert {reading.temperature_c for reading in load.heat.readings} == {51.0}
    windows = load.trace.windows
    assert load.heat.readings[0].uptime_s <= windows[0].start_s + 1, "both tell the time by the same clock"
    assert load.heat.readings[-1].uptime_s <= windows[-1].end_s + 1


def test_a_runner_that_dies_is_named_with_its_model(tiny_tflite: Path, tmp_path: Path):
    dies = tmp_path / "dies.py"
    dies.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(RunnerError, match=r"tiny_float32\.tflite: the runner was ended by SIGSEGV"):
        HostDevice(runner=dies).sustain(job(tiny_tflite))


def test_the_sampler_is_ended_whatever_ends_the_load(tmp_path: Path):
    class Sampling:
        stopped = 0

        def stop(self) -> str:
            self.stopped += 1
            return ""

    sampling = Sampling()

    def fails() -> LoadTrace:
        raise RunnerError("died")

    with pytest.raises(RunnerError, match="died"):
        watched(lambda argv: sampling, fails, job(tmp_path))
    assert sampling.stopped == 1


def test_core_ml_is_run_again_and_again(scripted_xcrun: ScriptedXcrun, tmp_path: Path):
    scripted_xcrun.developer_folder()
    scripted_xcrun.expect("xcrun", "xcodebuild", "-version", stdout=XCODE)
    prints = f"#!{sys.executable} -IS\nprint({printed(ANSWER)!r})\n"
    scripted_xcrun.expect(*build_call("macosx", "arm64-apple-macos14.0"), makes=prints)
    path = package(tmp_path / "net.mlpackage")
    scripted_xcrun.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    device = mac.connect("mac")
    assert isinstance(device, CoreMLDevice)
    load = device.sustain(job(path, seconds=0.2, window_s=0.001))
    windows = load.trace.windows
    assert len(windows) >= 2 and windows[-1].end_s - windows[0].start_s >= 0.2
    assert {(window.n, window.median_ms) for window in windows} == {(3, 1.25)}
    assert isinstance(load.heat, Missing) and "macOS" in load.heat.reason
