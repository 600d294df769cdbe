"""Heat under load: the sampler on the shells that devices have, and what is made of its output."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Missing
from device_bench.probes.heat import Heat, heat_of, parse_heat, sampler_argv
from device_bench.probes.state import MARK, ClockPolicy, CpuClock, DeviceState

SHELLS = [["dash"], ["bash", "--posix"], ["mksh"], ["busybox", "sh"]]


def state(uptime_s: float | None, **more: object) -> DeviceState:
    return DeviceState.model_validate({"uptime_s": uptime_s, **more})


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-big\n")
    (zone / "temp").write_text("52300\n")
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_sampler_reads_until_it_is_ended(sysfs: Path, shell: list[str]):
    if shutil.which(shell[0]) is None:
        pytest.skip(f"this machine has no {shell[0]}")
    argv = [*shell, *sampler_argv(0.05, 60, str(sysfs))[1:]]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        text = ""
        while text.count(f"{MARK} end\n") < 3:
            text += process.stdout.readline()
        process.kill()
    heat = parse_heat(text)
    assert isinstance(heat, Heat)
    assert heat.sensor == "cpu-big (thermal_zone0)"
    assert len(heat.readings) == 3 and {reading.temperature_c for reading in heat.readings} == {52.3}
    assert heat.readings[0].uptime_s <= heat.readings[-1].uptime_s


def test_the_sampler_ends_by_itself(sysfs: Path):
    done = subprocess.run(sampler_argv(0.1, 1, str(sysfs)), capture_output=True, text=True, timeout=20, check=True)
    assert f"{MARK} end" in done.stdout


def test_a_reading_that_was_cut_off_is_left_out():
    whole = f"{MARK} uptime\n100.00 5.0\n{MARK} heat\nthermal_zone0/type:cpu\nthermal_zone0/temp:40000\n{MARK} end\n"
    later = whole.replace("100.00", "110.00").replace("40000", "50000")
    cut = later.replace("110.00", "120.00").replace(f"{MARK} end\n", "")
    heat = parse_heat(whole + later + cut)
    assert isinstance(heat, Heat)
    assert [(r.uptime_s, r.temperature_c) for r in heat.readings] == [(100.0, 40.0), (110.0, 50.0)]


@given(st.text(max_size=300) | st.text(alphabet=f"{MARK}\n :upendtimeh0123.", max_size=300))
def test_garbage_is_no_error(text: str):
    assert isinstance(parse_heat(text), Heat | Missing)


@pytest.mark.parametrize(
    ("first", "second", "sensor", "expected"),
    [
        ({"skin_c": 30, "battery_c": 33}, {"skin_c": 40, "battery_c": 35}, "skin", (30, 40)),
        ({"skin_c": 30, "battery_c": 33}, {"battery_c": 35}, "battery", (33, 35)),
        ({"temperatures_c": {"a": 50, "b": 30}}, {"temperatures_c": {"a": 51, "b": 80, "c": 99}}, "b", (30, 80)),
    ],
)
def test_one_sensor_in_all_readings(first, second, sensor, expected):
    heat = heat_of([state(1, **first), state(11, **second)])
    assert isinstance(heat, Heat)
    assert heat.sensor == sensor and tuple(r.temperature_c for r in heat.readings) == expected


def test_the_clock_is_the_mean_of_the_cluster_that_worked():
    def with_clocks(uptime_s: float, little_s: float, high_s: float, low_s: float) -> DeviceState:
        big = ClockPolicy(cpus=(4,), governor="schedutil", seconds_at_khz={2_000_000: high_s, 1_000_000: low_s})
        little = ClockPolicy(cpus=(0,), governor="schedutil", seconds_at_khz={500_000: uptime_s})
        cap = CpuClock(now_khz=2_000_000, cap_khz=2_000_000, top_khz=2_000_000)
        return state(
            uptime_s, policies={"a": little, "b": big}, busy_s={0: little_s, 4: high_s + low_s}, clocks={4: cap}
        )

    heat = heat_of([with_clocks(10, 1, 5, 5), with_clocks(20, 2, 10, 10), with_clocks(30, 3, 10, 20)])
    assert isinstance(heat, Heat)
    assert [reading.freq_mhz for reading in heat.readings] == [2000, 1500, 1000]


def test_throttling_between_any_two_readings_counts_though_it_has_passed():
    caps = [CpuClock(now_khz=khz, cap_khz=khz, top_khz=2_000_000) for khz in (2_000_000, 1_000_000, 2_000_000)]
    heat = heat_of([state(10.0 * i, clocks={0: cap}) for i, cap in enumerate(caps, 1)])
    assert isinstance(heat, Heat) and heat.throttled is True


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([], "0 readings"),
        ([state(1, skin_c=30)], "1 readings"),
        ([state(None, skin_c=30), state(2, skin_c=30)], "1 readings"),
        ([state(1), state(2)], "no temperature and no clock"),
    ],
)
def test_what_cannot_be_told_has_a_reason(states, reason):
    heat = heat_of(states)
    assert isinstance(heat, Missing) and reason in heat.reason
