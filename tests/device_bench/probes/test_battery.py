import shutil
import subprocess
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Missing
from device_bench.probes.battery import BatteryTrace, Phases, cut, parse_trace, sampler_argv
from tests.device_bench.probes import dumps
from tests.device_bench.probes.gauges import LOAD, VOLTS, gauge_text
from tests.device_bench.probes.shells import program

SHELLS = [["dash"], ["bash", "--posix"], ["mksh"], ["busybox", "sh"]]


def trace(text: str) -> BatteryTrace:
    parsed = parse_trace(text)
    assert isinstance(parsed, BatteryTrace), parsed.reason
    return parsed


def sample(sh: list[str], bin_dir: Path, sysfs: Path, seconds: int) -> BatteryTrace | Missing:
    argv = [*sh, *sampler_argv(seconds, str(sysfs))[1:-2], "0.2", str(seconds)]
    environment = {"PATH": f"{bin_dir}:/usr/bin:/bin"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environment, check=True)
    assert done.stderr == ""
    return parse_trace(done.stdout)


@pytest.mark.parametrize("sh", SHELLS, ids=lambda sh: sh[0])
def test_the_sampler_reads_sysfs_and_ends_by_itself(tmp_path: Path, sh):
    if not shutil.which(sh[0]):
        pytest.skip(f"{sh[0]} is not installed")
    for name, values in {"usb": {"type": "USB"}, "battery": {"type": "Battery", "current_now": "-512000",
        "voltage_now": "4021000"}}.items():  # fmt: skip
        for key, text in values.items():
            (tmp_path / "class/power_supply" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "class/power_supply" / name / key).write_text(f"{text}\n")
    sampled = sample(sh, tmp_path / "bin", tmp_path, 2)
    assert isinstance(sampled, BatteryTrace)
    assert (sampled.source, sampled.node) == ("sysfs", "battery")
    assert len(sampled.readings) >= 3
    reading = sampled.readings[0]
    assert (reading.current, reading.volts, reading.charge_uah) == (-512000, pytest.approx(4.021), None)


@pytest.mark.parametrize("sh", SHELLS, ids=lambda sh: sh[0])
def test_the_sampler_asks_the_service_where_sysfs_is_closed(tmp_path: Path, sh):
    if not shutil.which(sh[0]):
        pytest.skip(f"{sh[0]} is not installed")
    (tmp_path / "dump").write_text(dumps.BATTERY)
    program(tmp_path / "bin", "cmd", '[ "$*" = "battery get -f current_now" ] && echo 431')
    program(tmp_path / "bin", "dumpsys", f'cat "{tmp_path}/dump"')
    sampled = sample(sh, tmp_path / "bin", tmp_path / "none", 2)
    assert isinstance(sampled, BatteryTrace)
    assert sampled.source == "service"
    reading = sampled.readings[0]
    assert (reading.current, reading.volts, reading.charge_uah) == (431, 4.021, 2_085_000)  # not the charger's 5 V


def test_a_device_without_either_says_so(tmp_path: Path):
    sampled = sample(["sh"], tmp_path / "bin", tmp_path, 2)
    assert isinstance(sampled, Missing) and "neither in sysfs nor from the battery service" in sampled.reason


@given(st.text() | st.lists(st.text("0123456789.- \n"), max_size=20).map(lambda x: "source sysfs b\n" + "".join(x)))
def test_garbage_is_never_an_error(text):
    parsed = parse_trace(text)
    result = cut(parsed, LOAD) if isinstance(parsed, BatteryTrace) else parsed
    assert isinstance(result, Phases) or (isinstance(result, Missing) and result.reason)


def test_zeros_and_a_line_that_was_cut_off_are_left_out():
    text = "source sysfs battery\n1.00 -5 4000000 -\n1.20 0 4000000 -\n1.40 -6 4000000 -\n1.60 -7 40000"
    assert [reading.current for reading in trace(text).readings] == [-5, -6]


@given(renewed_s=st.sampled_from([0.2, 0.5, 1.0, 2.0]), lag_s=st.floats(0, 7), seed=st.integers(0, 99))
def test_windows_give_the_true_means_whatever_the_gauges_lag(renewed_s, lag_s, seed):
    phases = cut(trace(gauge_text(renewed_s=renewed_s, lag_s=lag_s, noise_a=0.01, seed=seed)), LOAD)
    assert isinstance(phases, Phases)
    assert fmean(phases.load_current) == pytest.approx(-850_000, rel=0.02)
    assert fmean(phases.idle_current) == pytest.approx(-250_000, rel=0.04)
    assert fmean(phases.load_power) == pytest.approx(-850_000 * VOLTS, rel=0.02)
    assert phases.window_s >= 2 * renewed_s


def test_a_reading_that_is_repeated_counts_once():
    fast, slow = (cut(trace(gauge_text(renewed_s=renewed_s)), LOAD) for renewed_s in (0.5, 2.0))
    assert isinstance(fast, Phases) and isinstance(slow, Phases)
    assert len(slow.load_current) <= 52 / 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"renewed_s": 15.0}, "renewed about every 15"),
        ({"noise_a": 0.0, "idle_a": 0.5, "load_a": 0.5, "renewed_s": 1000.0}, "a dead reading"),
    ],
)
def test_too_few_renewals_give_no_figure(changes, reason):
    phases = cut(trace(gauge_text(**changes)), LOAD)
    assert isinstance(phases, Missing) and reason in phases.reason


def test_a_device_that_slept_gives_no_figure():
    lines = gauge_text().splitlines()
    phases = cut(trace("\n".join([*lines[:10], *lines[50:], ""])), LOAD)
    assert isinstance(phases, Missing) and "the device slept" in phases.reason
