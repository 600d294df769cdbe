"""The phones of the rig say what phones say, and their sensors follow the load that is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from device_bench.runners.benchmark_log import ToolRun, parse_run
from device_bench.runners.benchmark_result import parse_result
from tests.device_bench.tiny_models import tiny_tflite
from tests.rig.device import PERSONALITIES, RigDevice

__all__ = ["tiny_tflite"]

PHONES = sorted(folder.name for folder in PERSONALITIES.iterdir() if folder.name not in ("board", "phone"))
CURRENT = "cat /sys/class/power_supply/battery/current_now"
THERMAL = "dumpsys thermalservice"
PATIENCE_S = 10.0


def say(device: RigDevice, command: str) -> str:
    """What adb's user on a phone gets to see."""
    path = "PATH=/system/bin:/usr/bin:/bin"
    user = ["setpriv", "--reuid=2000", "--regid=2000", "--clear-groups"]
    done = device.shell([*user, "env", path, "sh", "-c", command])
    return (done.stdout + done.stderr).strip()


@contextmanager
def load(device: RigDevice) -> Iterator[None]:
    """One busy processor."""
    device.shell(["sh", "-c", "timeout 30 sh -c 'while :; do :; done' >/dev/null 2>&1 &"])
    try:
        yield
    finally:
        device.shell(["pkill", "timeout"])


def eventually(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("name", PHONES)
def test_a_phone_has_a_shell_user_properties_and_no_python(rig_device: RigDevice, name: str) -> None:
    rig_device.personality(name)
    assert say(rig_device, "id -un") == "shell"
    assert say(rig_device, "getprop ro.product.model") != ""
    assert "level: " in say(rig_device, "dumpsys battery")
    assert say(rig_device, "command -v python3 || echo none") == "none"
    tools = "benchmark_model\nbenchmark_model.plays"
    assert say(rig_device, "cd /data/local/tmp && touch writable && ls pocketprune/tools") == tools


def test_a_board_has_no_android_and_a_python(rig_device: RigDevice) -> None:
    assert say(rig_device, "command -v getprop dumpsys || echo none") == "none"
    assert say(rig_device, "command -v python3") == "/usr/bin/python3"
    assert not (rig_device.root / "data").exists()


@pytest.mark.parametrize(("name", "sign", "unit"), [("pixel", -1, 1000), ("milliamp", 1, 1)])
def test_current_follows_the_load_in_the_phones_sign_and_unit(
    rig_device: RigDevice, name: str, sign: int, unit: int
) -> None:
    rig_device.personality(name)
    assert eventually(lambda: abs(int(say(rig_device, CURRENT)) * sign / unit - 180) < 40)
    with load(rig_device):
        assert eventually(lambda: int(say(rig_device, CURRENT)) * sign / unit > 500)
    assert say(rig_device, "cmd battery get -f current_now").lstrip("-").isdecimal()


def test_a_pixels_rails_count_the_energy_of_the_load(rig_device: RigDevice) -> None:
    def big_mj() -> float:
        text = say(rig_device, "dumpsys android.hardware.power.stats.IPowerStats/default")
        found = re.search(r"CPU\(BIG\) +([\d.]+) mWs", text)
        assert found
        return float(found[1])

    rig_device.personality("pixel")
    with load(rig_device):
        time.sleep(0.6)
        before_mj = big_mj()
        time.sleep(1.0)
        assert 450 < big_mj() - before_mj < 1800, "900 mW for a second or so"


def test_what_a_charging_phone_says(rig_device: RigDevice) -> None:
    rig_device.personality("charging")
    assert "USB powered: true" in say(rig_device, "dumpsys battery")
    assert int(say(rig_device, CURRENT)) > 0


def test_what_a_frozen_battery_service_says(rig_device: RigDevice) -> None:
    rig_device.personality("frozen")
    assert "(UPDATES STOPPED -- use 'reset' to restart)" in say(rig_device, "dumpsys battery")


def test_a_low_battery_is_low(rig_device: RigDevice) -> None:
    rig_device.personality("lowbattery")
    assert "level: 9\n" in say(rig_device, "dumpsys battery")


def test_unreadable_nodes_are_denied(rig_device: RigDevice) -> None:
    rig_device.personality("unreadable")
    assert "Permission denied" in say(rig_device, CURRENT)
    assert say(rig_device, "cmd battery get -f current_now") == "Unknown get option: current_now"
    assert "Permission denied" in say(rig_device, "cat /sys/class/thermal/thermal_zone0/temp")


def test_a_throttling_phone_gets_hot_and_slow_under_load(rig_device: RigDevice) -> None:
    def cap_khz() -> int:
        return int(say(rig_device, "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq"))

    rig_device.personality("throttling")
    assert "Thermal Status: 0" in say(rig_device, THERMAL) and cap_khz() == 2400000
    with load(rig_device):
        assert eventually(lambda: "Thermal Status: 3" in say(rig_device, THERMAL))
        assert cap_khz() < 2400000
    assert int(say(rig_device, "sed -n 's/^1200000 //p' /sys/devices/system/cpu/cpu0/cpufreq/stats/time_in_state")) > 0


def test_a_hot_phone_cools_down_in_seconds(rig_device: RigDevice) -> None:
    def celsius() -> float:
        return int(say(rig_device, "dumpsys battery | sed -n 's/^  temperature: //p'")) / 10

    rig_device.personality("hot")
    assert celsius() > 44
    assert eventually(lambda: celsius() < 40)


def test_the_power_key_turns_the_screen_on_and_off(rig_device: RigDevice) -> None:
    def screen() -> str:
        return say(rig_device, "dumpsys power | grep 'Display Power'")

    rig_device.personality("pixel")
    assert screen() == "Display Power: state=OFF"
    say(rig_device, "input keyevent 224")
    assert eventually(lambda: screen() == "Display Power: state=ON")
    say(rig_device, "input keyevent 223")
    assert eventually(lambda: screen() == "Display Power: state=OFF")


# --- the stand-in for benchmark_model


def execute(device: RigDevice, *flags: str) -> tuple[subprocess.CompletedProcess[str], ToolRun]:
    argv = [f"{device.tools}/benchmark_model", f"--graph={device.storage}/m.tflite", "--warmup_min_secs=0", *flags]
    done = device.shell(argv)
    return done, parse_run([*done.stderr.splitlines(), *done.stdout.splitlines()])


@pytest.fixture
def phone(rig_device: RigDevice, tiny_tflite: Path) -> RigDevice:
    rig_device.personality("pixel")
    shutil.copy(tiny_tflite, rig_device.root / "data/local/tmp/m.tflite")
    return rig_device


@pytest.mark.parametrize(
    ("build", "dialect", "median"),
    [("old", "old", False), ("tflite", "tflite", False), ("current", "tflite", True), ("litert", "litert", True)],
)
def test_each_build_prints_its_own_lines(phone: RigDevice, build: str, dialect: str, median: bool) -> None:
    phone.give_benchmark_model(build)
    done, run = execute(phone, "--num_runs=30", "--min_secs=0")
    assert done.returncode == 0 and run.timed is not None and run.timed.n == 30
    assert (run.dialect, run.timed.median is not None) == (dialect, median)


def test_golden_inputs_give_litert_s_own_outputs(phone: RigDevice, tiny_tflite: Path) -> None:
    net = Interpreter(str(tiny_tflite))
    net.allocate_tensors()
    detail, answer = net.get_input_details()[0], net.get_output_details()[0]
    values = np.random.default_rng(0).standard_normal(detail["shape"]).astype(np.float32)
    net.set_tensor(detail["index"], values)
    net.invoke()
    (phone.root / "data/local/tmp/in").write_bytes(values.tobytes())
    shape = ",".join(map(str, detail["shape"]))
    files = ["--input_layer_value_files=x:/data/local/tmp/in", "--output_filepath=/data/local/tmp/out"]
    execute(phone, "--input_layer=x", f"--input_layer_shape={shape}", *files, "--num_runs=1", "--min_secs=0")
    written = np.frombuffer((phone.root / "data/local/tmp/out").read_bytes(), np.float32)
    np.testing.assert_allclose(written, net.get_tensor(answer["index"]).ravel(), rtol=1e-5)


def test_its_result_file_holds_what_it_prints(phone: RigDevice) -> None:
    _, run = execute(phone, "--num_runs=30", "--min_secs=0", "--result_file_path=/data/local/tmp/result")
    result = parse_result((phone.root / "data/local/tmp/result").read_bytes())
    assert run.timed and result.timed and result.timed.n == 30
    assert result.timed.mean == pytest.approx(run.timed.mean, rel=1e-3)
    assert result.timed.median == pytest.approx(run.timed.median, rel=1e-3)


def test_unknown_flags_only_warn_and_help_is_a_failure(phone: RigDevice) -> None:
    done, run = execute(phone, "--num_runs=1", "--min_secs=0", "--no_such_flag=1")
    assert done.returncode == 0 and run.unknown_flags == ("--no_such_flag",)
    assert execute(phone, "--help")[0].returncode == 1


def test_a_gpu_that_takes_nothing_is_only_said(phone: RigDevice) -> None:
    done, _ = execute(phone, "--num_runs=1", "--min_secs=0", "--use_gpu=true")
    verdict = "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
    assert done.returncode == 0 and verdict in done.stdout


def test_its_table_of_operations(phone: RigDevice) -> None:
    _, run = execute(phone, "--num_runs=5", "--min_secs=0", "--enable_op_profiling=true")
    assert run.ops and run.ops[0].type == "TfLiteXNNPackDelegate"


@pytest.mark.parametrize(("fault", "code"), [("segv", -11), ("garbage", 0), ("wrong", 0)])
def test_faults_that_end_by_themselves(phone: RigDevice, fault: str, code: int) -> None:
    phone.give_benchmark_model(fault=fault)
    done, run = execute(phone, "--num_runs=5", "--min_secs=0", "--output_filepath=/data/local/tmp/out")
    assert done.returncode == code
    assert (run.timed is not None) == (fault == "wrong")
    if fault == "wrong":
        assert not any((phone.root / "data/local/tmp/out").read_bytes()), "zeros, in no time"


def test_a_hanging_tool_hangs(phone: RigDevice) -> None:
    phone.give_benchmark_model(fault="hang")
    with pytest.raises(subprocess.TimeoutExpired):
        phone.shell([f"{phone.tools}/benchmark_model", f"--graph={phone.storage}/m.tflite"], timeout_s=1)
