"""The probes over real adb: on a plain board, and on phones' personalities."""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from device_bench.adb import open_link
from device_bench.adb.connection import AdbConnection
from device_bench.adb.sampling import DetachedSampling
from device_bench.device import Job, JobModel, Missing
from device_bench.devices import open_device
from device_bench.errors import DeviceUnavailableError
from device_bench.probes import power_pass
from device_bench.probes.battery import LoadRun
from device_bench.probes.state import read_state
from device_bench.probes.throttle import thermal_between
from device_bench.readiness import Gatekeeper
from device_bench.records import BenchSpec, PowerUse, Readiness, ThermalState
from tests.rig.device import RigDevice

# $1 seconds: keeps one processor busy, and says how often it went round
SPIN = 'read -r now rest </proc/uptime; end=$((${now%%.*} + $1)); n=0; \
while read -r now rest </proc/uptime; [ "${now%%.*}" -lt "$end" ]; do n=$((n + 1)); done; echo $n'


@contextmanager
def connected(device: RigDevice) -> Iterator[AdbConnection]:
    with AdbConnection(open_link(device.spec)) as connection:
        yield connection


def spin(connection: AdbConnection, folder: str, seconds: float) -> LoadRun:
    start_s = uptime_s(connection)
    job = connection.start(["sh", "-c", SPIN, "sh", str(round(seconds))], folder, name="load")
    rounds = int(connection.collect(job, seconds + 30).stdout)
    return LoadRun(start_s=start_s, end_s=uptime_s(connection), busy_s=seconds, inferences=rounds)


def uptime_s(connection: AdbConnection) -> float:
    return float(connection.run(["cat", "/proc/uptime"]).stdout.split()[0])


def test_a_board_has_neither_battery_nor_screen_and_is_ready(rig_device: RigDevice):
    with connected(rig_device) as connection:
        state = Gatekeeper(connection).make_ready(Readiness(screen="off"))
    assert not state.has_battery and state.screen_on is None
    assert state.uptime_s and state.busy_s and state.free_mb


@pytest.mark.parametrize(
    ("personality", "expected"),
    [
        ("pixel", {"powered": False, "battery_frozen": False, "battery_percent": 75.0, "screen_on": False}),
        ("milliamp", {"powered": False, "battery_frozen": False}),
        ("charging", {"powered": True}),
        ("frozen", {"battery_frozen": True, "powered": False}),
        ("lowbattery", {"powered": False}),
    ],
)
def test_a_phones_state(rig_device: RigDevice, personality, expected):
    rig_device.personality(personality)
    with connected(rig_device) as connection:
        state = read_state(connection)
    assert {name: getattr(state, name) for name in expected} == expected
    assert state.skin_c is not None and state.battery_c is not None
    assert state.policies and state.clocks and state.thermal_status == 0


def thermal_of_a_load(device: RigDevice, seconds: float) -> ThermalState:
    with connected(device) as connection:
        before = read_state(connection)
        with connection.run_folder() as folder:
            spin(connection, folder, seconds)
            after = read_state(connection)
    thermal = thermal_between(before, after)
    assert isinstance(thermal, ThermalState)
    return thermal


def test_a_phone_that_gets_hot_is_seen_to_throttle(rig_device: RigDevice):
    rig_device.personality("throttling")
    thermal = thermal_of_a_load(rig_device, 4)
    assert thermal.throttled is True
    assert thermal.start_c is not None and thermal.end_c is not None and thermal.end_c > thermal.start_c


def test_a_cool_phone_is_seen_not_to(rig_device: RigDevice):
    rig_device.personality("pixel")
    thermal = thermal_of_a_load(rig_device, 2)
    assert thermal.throttled is False and thermal.freq_mhz_max == 2400.0


@pytest.mark.parametrize(("personality", "reason"), [("hot", "at most 40 C is wanted"), ("lowbattery", "battery at")])
def test_a_phone_that_is_not_ready_is_refused(rig_device: RigDevice, personality, reason):
    rig_device.personality(personality)
    with connected(rig_device) as connection, pytest.raises(DeviceUnavailableError, match=reason):
        Gatekeeper(connection).make_ready(Readiness(wait_s=0))


def test_the_screen_is_switched_on_and_off_again(rig_device: RigDevice):
    rig_device.personality("pixel")
    with connected(rig_device) as connection:
        keeper = Gatekeeper(connection)
        assert keeper.make_ready(Readiness(screen="on")).screen_on is True
        keeper.restore()
        deadline_s = time.monotonic() + 5
        while read_state(connection).screen_on and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert read_state(connection).screen_on is False


def measure(device: RigDevice, path: Path) -> PowerUse | Missing:
    with connected(device) as connection, connection.run_folder() as folder:
        return power_pass.measure_power(
            connection,
            functools.partial(DetachedSampling, connection, folder),
            functools.partial(spin, connection, folder),
            "rig",
            path,
        )


@pytest.mark.parametrize(
    ("personality", "reason"),
    [("charging", "a charger is attached"), ("frozen", "dumpsys battery reset"), ("board", "nor a battery")],
)
def test_power_that_cannot_be_had_has_a_reason_at_once(rig_device: RigDevice, tmp_path: Path, personality, reason):
    rig_device.personality(personality)
    use = measure(rig_device, tmp_path / "a.json")
    assert isinstance(use, Missing) and reason in use.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("personality", "idle_mw", "word"), [("milliamp", 724, "charge counter"), ("pixel", 82, "power rails")]
)
def test_power_of_a_load(rig_device: RigDevice, tmp_path: Path, monkeypatch, personality, idle_mw, word):
    monkeypatch.setattr(power_pass, "LOAD_S", 30.0)
    rig_device.personality(personality)
    use = measure(rig_device, tmp_path / "a.json")
    assert isinstance(use, PowerUse), use.reason
    assert use.idle_mw == pytest.approx(idle_mw, rel=0.2)
    assert use.mean_mw > 1.5 * use.idle_mw
    assert 0 < use.ci95[0] < use.energy_per_inference_mj < use.ci95[1]
    assert word in use.method


@pytest.mark.parametrize("personality", ["board", "pixel"])
def test_nothing_of_ours_starts_on_the_device_while_a_job_is_timed(rig_device: RigDevice, personality):
    """A sampler, a poll or a probe would be a process, and process numbers are given out in turn."""
    rig_device.personality(personality)
    with connected(rig_device) as connection, connection.run_folder() as folder:
        read_state(connection)
        job = connection.start(["sleep", "3"], folder)
        waiting = threading.Thread(target=connection.collect, args=(job, 30.0))
        waiting.start()
        time.sleep(0.5)
        looks = [next_process(rig_device)]
        looks.append(next_process(rig_device))
        time.sleep(1.5)
        looks.append(next_process(rig_device))
        assert waiting.is_alive()
        waiting.join()
        read_state(connection)
        after = next_process(rig_device)
    cost_of_a_look = looks[1] - looks[0]
    assert looks[2] - looks[1] == cost_of_a_look
    assert after - looks[2] > cost_of_a_look  # a probe does show


def next_process(device: RigDevice) -> int:
    return int(device.shell(["sh", "-c", "echo $$"]).stdout)


def test_a_measurement_starts_nothing_on_the_device_in_its_timed_loop(rig_device: RigDevice, tiny_tflite: Path):
    job = Job.of(BenchSpec(min_seconds=3.0), (JobModel(path=tiny_tflite),))
    looks: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.25):
            looks.append(next_process(rig_device))

    with open_device(rig_device.spec) as device:
        device.check(tiny_tflite, BenchSpec())
        cost_of_a_look = next_process(rig_device)
        cost_of_a_look = next_process(rig_device) - cost_of_a_look
        watcher = threading.Thread(target=look)
        watcher.start()
        result = device.run(job)
        stop.set()
        watcher.join()
    quiet, longest = 0, 0
    for first, last in pairwise(looks):
        quiet = quiet + 1 if last - first == cost_of_a_look else 0
        longest = max(longest, quiet)
    assert result.models[0].wall_s >= 3.0
    assert longest * 0.25 >= 2.0  # looks take their time as well, so fewer than 12 fit into the loop
