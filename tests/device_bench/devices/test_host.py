"""Faults of the runner and of the machine's files; what the host does right is in test_bench.py."""

import json
from pathlib import Path

import pytest

from device_bench.device import Job, JobModel, Missing
from device_bench.devices import host
from device_bench.devices.host import HostDevice
from device_bench.errors import RunnerError, UsageError
from device_bench.records import BenchSpec, PowerUse, ThermalState
from tests.device_bench.test_litert import ANSWER

JOB = Job.of(BenchSpec(timed_runs=1), (JobModel(path=Path("model.tflite")),))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("print('hello')", "without a result;.*\n  hello"),
        ("print('POCKETPRUNE-RESULT {')", "cannot be read"),
        ("import sys; sys.exit('out of disk')", "exit code 1;.*\n  out of disk"),
        ("import time; time.sleep(60)", "longer than 1 s"),
    ],
)
def test_a_bad_runner_is_an_error_with_its_last_output(tmp_path: Path, program, message):
    runner = tmp_path / "runner.py"
    runner.write_text(program)
    timeout_s = 1 if "sleep" in program else 30
    with pytest.raises(RunnerError, match=message):
        HostDevice(runner=runner).run(JOB.model_copy(update={"timeout_s": timeout_s}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.tflite", None, "no such file"),
        ("folder.tflite", "folder", "is a folder"),
        ("empty.tflite", b"", "not a TFLite file"),
        ("photo.tflite", b"\x89PNG\r\n\x1a\n....", "not a TFLite file"),
        ("net.mlpackage", "folder", "Core ML"),
        ("net.mlpackage", None, "Core ML"),
    ],
)
def test_a_file_that_cannot_be_measured(tmp_path: Path, name, content, message):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        HostDevice().check(path, BenchSpec())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [8, 200, 5000])
def test_a_damaged_file_is_named(tiny_tflite: Path, tmp_path: Path, cut):
    """LiteRT's own loader dies of some damaged files that come past `check`, and refuses others."""
    path = tmp_path / "cut.tflite"
    path.write_bytes(tiny_tflite.read_bytes()[:cut])
    job = Job.of(BenchSpec(timed_runs=1), (JobModel(path=path),))
    with pytest.raises((RunnerError, UsageError), match=r"cut\.tflite: .*(damaged model file|cannot load it)"):
        HostDevice().run(job)


def test_pinning(tiny_tflite: Path):
    if not hasattr(host.os, "sched_getaffinity"):
        pytest.skip("this system cannot pin a process")
    cpu = min(host.os.sched_getaffinity(0))
    spec = BenchSpec(timed_runs=2, min_seconds=0, affinity=(cpu,))
    HostDevice().check(tiny_tflite, spec)
    assert HostDevice().run(Job.of(spec, (JobModel(path=tiny_tflite),))).models[0].blocks
    for wrong in ((4095,), ()):
        with pytest.raises(UsageError, match="pick from the CPUs that there are"):
            HostDevice().check(tiny_tflite, BenchSpec(affinity=wrong))


RUNNER_THAT_GETS_HOT = """
import json, sys
sys.stdin.read()
open({count!r}, "w").write("9\\n")
open({zone!r}, "w").write("62500\\n")
print("POCKETPRUNE-RESULT " + json.dumps({answer!r}))
"""


def test_heat_and_throttling_come_from_readings_before_and_after(tmp_path: Path):
    """Of two zones the hottest at each end, the clocks of all CPUs, and the processor's own count."""
    sysfs = tmp_path / "sys"
    cpus, zones = sysfs / "devices/system/cpu", sysfs / "class/thermal"
    count, zone = cpus / "cpu0/thermal_throttle/core_throttle_count", zones / "thermal_zone0/temp"
    files = {count: "7", zone: "41000", zones / "thermal_zone1/temp": "38500"}
    for cpu, khz in enumerate((1_200_000, 3_400_000)):
        files[cpus / f"cpu{cpu}/cpufreq/scaling_cur_freq"] = str(khz)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    runner = tmp_path / "runner.py"
    runner.write_text(RUNNER_THAT_GETS_HOT.format(count=str(count), zone=str(zone), answer=ANSWER))
    thermal = HostDevice(runner=runner, sysfs=sysfs).run(JOB).thermal
    assert thermal == ThermalState(start_c=41.0, end_c=62.5, freq_mhz_min=1200.0, freq_mhz_max=3400.0, throttled=True)


def test_a_machine_that_shows_no_heat_says_so(tmp_path: Path):
    runner = tmp_path / "runner.py"
    runner.write_text("print('POCKETPRUNE-RESULT ' + " + repr(json.dumps(ANSWER)) + ")")
    result = HostDevice(runner=runner, sysfs=tmp_path / "none").run(JOB)
    assert result.thermal is None and "no temperature and no clock" in result.missing["thermal"]


def test_power_without_counters_costs_nothing_and_says_why(tmp_path: Path):
    power = HostDevice(runner=Path("/no/runner.py"), sysfs=tmp_path).power(JOB)
    assert isinstance(power, Missing) and "no RAPL counters" in power.reason


def test_a_power_pass_over_a_counter_that_rises(tiny_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The real pass on a real runner; only the counter is a file that this test's own thread would have to move."""
    zone = tmp_path / "class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "1000000"), ("energy_uj", "500")):
        (zone / name).write_text(f"{text}\n")
    monkeypatch.setattr(host, "IDLE_S", 1.3)
    monkeypatch.setattr(host, "LOAD_S", 2.5)
    job = Job.of(BenchSpec(timed_runs=1, min_seconds=0), (JobModel(path=tiny_tflite),))
    power = HostDevice(sysfs=tmp_path).power(job)
    assert isinstance(power, PowerUse)
    assert (power.mean_mw, power.idle_mw, power.energy_per_inference_mj) == (0.0, 0.0, 0.0)


def test_the_machine_is_named_and_its_id_kept_secret():
    info = HostDevice().info()
    assert info == HostDevice().info()
    assert info.kind == "host" and info.model and info.os and info.abi
    machine_id = Path("/etc/machine-id")
    if machine_id.exists():
        assert machine_id.read_text().strip()[:12] not in info.id
