import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.probes.dumpsys import plausible_c
from device_bench.probes.state import SCRIPT, DeviceState, parse_state, read_state
from tests.device_bench.probes import dumps
from tests.device_bench.probes.shells import LocalShell, ScriptedShell, program

SHELLS = [["dash"], ["bash", "--posix"], ["mksh"], ["busybox", "sh"]]


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    cpus = "devices/system/cpu"
    for cpu, (now, cap, top) in {0: (300_000, 1_800_000, 1_800_000), 4: (2_400_000, 2_000_000, 2_800_000)}.items():
        for name, khz in (("scaling_cur_freq", now), ("scaling_max_freq", cap), ("cpuinfo_max_freq", top)):
            write(root, f"{cpus}/cpu{cpu}/cpufreq/{name}", str(khz))
    write(root, f"{cpus}/cpufreq/policy4/related_cpus", "4 5 6 7")
    write(root, f"{cpus}/cpufreq/policy4/scaling_governor", "sched_pixel")
    write(root, f"{cpus}/cpufreq/policy4/stats/time_in_state", "500000 1000\n2800000 250")
    write(root, "class/thermal/thermal_zone0/type", "cpu-big")
    write(root, "class/thermal/thermal_zone0/temp", "52300")
    write(root, "class/thermal/thermal_zone1/type", "broken")
    write(root, "class/thermal/thermal_zone1/temp", "-274000")
    write(root, "class/thermal/cooling_device0/type", "thermal-cpufreq-0")
    write(root, "class/thermal/cooling_device0/cur_state", "2")
    write(root, "class/thermal/cooling_device1/type", "fan")
    write(root, "class/thermal/cooling_device1/cur_state", "9")
    supply = "class/power_supply"
    for name, text in {"type": "Battery", "status": "Discharging", "capacity": "61", "temp": "298"}.items():
        write(root, f"{supply}/battery/{name}", text)
    write(root, f"{supply}/usb/type", "USB")
    write(root, f"{supply}/usb/online", "0")
    return root


@pytest.mark.parametrize("sh", SHELLS, ids=lambda sh: sh[0])
def test_a_board_is_read_by_every_shell(tmp_path: Path, sysfs: Path, sh):
    if not shutil.which(sh[0]):
        pytest.skip(f"{sh[0]} is not installed")
    state = read_state(LocalShell(tmp_path / "bin", sh), str(sysfs))
    assert (state.battery_percent, state.battery_c, state.powered) == (61.0, 29.8, False)
    assert state.temperatures_c == {"cpu-big (thermal_zone0)": 52.3}
    assert state.cpu_cooling == 2  # the fan cools nothing down
    assert (state.clocks[4].now_khz, state.clocks[4].cap_khz, state.clocks[4].top_khz) == (
        2_400_000,
        2_000_000,
        2_800_000,
    )
    policy = state.policies["policy4"]
    assert (policy.cpus, policy.governor) == ((4, 5, 6, 7), "sched_pixel")
    assert policy.seconds_at_khz == {500_000: 10.0, 2_800_000: 2.5}
    assert state.uptime_s and state.uptime_s > 0 and sum(state.busy_s.values()) > 0
    assert state.free_mb and state.free_mb > 0
    assert (state.thermal_status, state.screen_on, state.skin_c) == (None, None, None)


@pytest.mark.parametrize("sh", SHELLS, ids=lambda sh: sh[0])
def test_a_phone_is_read_by_every_shell(tmp_path: Path, sysfs: Path, sh):
    if not shutil.which(sh[0]):
        pytest.skip(f"{sh[0]} is not installed")
    for name, text in (("battery", dumps.BATTERY_USB), ("thermalservice", dumps.THERMAL_PIXEL)):
        (tmp_path / name).write_text(text)
    (tmp_path / "power").write_text("POWER MANAGER\n  mWakefulness=Asleep\n  mUserId=0\nDisplay Power: state=OFF\n")
    program(tmp_path / "bin", "dumpsys", f'cat "{tmp_path}/$1"')
    state = read_state(LocalShell(tmp_path / "bin", sh), str(sysfs))
    assert (state.battery_percent, state.battery_c, state.powered, state.charge_uah) == (75.0, 31.2, True, 2_085_000)
    assert (state.thermal_status, state.skin_c, state.screen_on) == (0, 32.100002, False)
    assert state.temperatures_c == {"VIRTUAL-SKIN": 32.100002, "battery": 29.4, "BIG": 48.0}


@pytest.mark.parametrize(
    ("kind", "cooling"), [("thermal-cpufreq-0", 3), ("cpu-freq-0", 3), ("Processor", 3), ("Fan", None), ("LCD", None)]
)
def test_what_cools_a_cpu_down(kind, cooling):
    text = f"@pocketprune@ heat\ncooling_device0/type:{kind}\ncooling_device0/cur_state:3\n"
    assert parse_state(text).cpu_cooling == cooling


def test_one_round_trip_and_an_empty_answer_is_an_empty_state():
    with ScriptedShell((["sh", "-c", SCRIPT, "sh", "/sys"], "")) as shell:
        state = read_state(shell)
    assert state == DeviceState() and not state.has_battery


@pytest.mark.parametrize(
    ("status", "online", "powered"),
    [
        ("Discharging", "0", False),
        ("Discharging", "1", True),  # a charger too weak for the load still falsifies the battery's current
        ("Charging", "0", True),
        ("Not charging", "0", True),
        ("Unknown", "0", None),
    ],
)
def test_a_frozen_service_is_not_asked_about_the_charger(status, online, powered):
    supply = f"battery/type:Battery\nbattery/status:{status}\nusb/type:USB\nusb/online:{online}\n"
    text = f"@pocketprune@ supply\n{supply}@pocketprune@ battery\n{dumps.BATTERY_FROZEN}"
    state = parse_state(text)
    assert state.battery_frozen and state.powered is powered


PIECES = ["@pocketprune@ ", "clocks\n", "heat\n", "stat\n", "supply\n", "storage\n", "\n", ":", "-1", "é", "\x00"]
PIECES += ["cpu0/cpufreq/", "cpufreq/policy0/related_cpus", "cpufreq/policy0/stats/time_in_state:1 2\n", "type:Battery"]
PIECES += ["99999999999999999999", "cpu0 1 2 3 4 5 6 7 8", "thermal_zone0/temp:"]


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_garbage_is_never_an_error(text):
    state = parse_state(text)
    assert state.battery_percent is None or 0 <= state.battery_percent <= 100
    assert all(plausible_c(c) == c for c in (*state.temperatures_c.values(), state.skin_c or 1, state.battery_c or 1))
    assert all(s >= 0 for policy in state.policies.values() for s in policy.seconds_at_khz.values())
