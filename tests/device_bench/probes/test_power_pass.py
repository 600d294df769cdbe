from collections.abc import Sequence
from pathlib import Path

import pytest

from device_bench.device import Missing
from device_bench.errors import RunnerError
from device_bench.probes import battery, rails
from device_bench.probes.power_pass import IDLE_S, LOAD_S, measure_power, power_unavailable
from device_bench.probes.state import SCRIPT
from device_bench.records import PowerUse
from tests.device_bench.probes import dumps
from tests.device_bench.probes.gauges import LOAD, gauge_text
from tests.device_bench.probes.shells import ScriptedShell
from tests.device_bench.probes.test_rails import rails_text

NO_RAILS = (["dumpsys", rails.SERVICE], "Can't find service: android.hardware.power.stats.IPowerStats/default\n")


def state_reply(dump: str) -> tuple[list[str], str]:
    return ["sh", "-c", SCRIPT], f"@pocketprune@ battery\n{dump}@pocketprune@ end\n"


class Device:
    """What happens on the device, in its order."""

    def __init__(self, text: str, fails: bool = False) -> None:
        self.events: list[str] = []
        self._text = text
        self._fails = fails

    def start(self, argv: Sequence[str]) -> "Device":
        self.events.append("start rails" if rails.SAMPLER in argv else "start battery")
        assert battery.SAMPLER in argv or rails.SAMPLER in argv
        return self

    def stop(self) -> str:
        self.events.append("stop")
        return self._text

    def sleep(self, seconds: float) -> None:
        self.events.append(f"sleep {seconds:g}")

    def run_load(self, seconds: float) -> battery.LoadRun:
        self.events.append(f"load {seconds:g}")
        if self._fails:
            raise RunnerError("killed")
        return LOAD


def measure(shell: ScriptedShell, device: Device, path: Path) -> PowerUse | Missing:
    return measure_power(shell, device.start, device.run_load, "a", path, device.sleep)


@pytest.mark.parametrize(("unit_a", "sign"), [(1e-6, -1), (1e-3, 1)])
def test_power_by_the_battery_of_every_kind(tmp_path: Path, unit_a, sign):
    device = Device(gauge_text(unit_a=unit_a, sign=sign))
    with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY), state_reply(dumps.BATTERY)) as shell:
        use = measure(shell, device, tmp_path / "a.json")
    assert device.events == ["start battery", f"sleep {IDLE_S:g}", f"load {LOAD_S:g}", f"sleep {IDLE_S:g}", "stop"]
    assert isinstance(use, PowerUse)
    assert use.idle_mw == pytest.approx(1000, rel=0.02)
    assert use.mean_mw == pytest.approx(3400, rel=0.02)
    assert use.energy_per_inference_mj == pytest.approx(2400 * 59 / 590, rel=0.02)
    assert use.ci95[0] < use.energy_per_inference_mj < use.ci95[1]
    assert "charge counter" in use.method and "sysfs battery" in use.method


def test_rails_are_taken_before_the_battery_and_while_charging(tmp_path: Path):
    device = Device(rails_text())
    with ScriptedShell((["dumpsys", rails.SERVICE], dumps.RAILS.format(tpu=1, big=1, display=1))) as shell:
        use = measure(shell, device, tmp_path / "a.json")
    assert device.events[0] == "start rails"
    assert isinstance(use, PowerUse) and use.method.startswith("power rails [S10M_VDD_TPU]")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("dump", "reason"),
    [
        (dumps.BATTERY_USB, "a charger is attached"),
        (dumps.BATTERY_FROZEN, "dumpsys battery reset"),
        ("", "neither metered power rails nor a battery"),
        ("  level: 75\n  scale: 100\n", "does not say whether it is being charged"),
    ],
)
def test_a_battery_that_says_nothing_of_the_load_is_not_asked(tmp_path: Path, dump, reason):
    device = Device("")
    with ScriptedShell(NO_RAILS, state_reply(dump)) as shell:
        use = measure(shell, device, tmp_path / "a.json")
    assert isinstance(use, Missing) and reason in use.reason
    assert device.events == []


def test_a_charger_that_was_attached_meanwhile_spoils_it(tmp_path: Path):
    device = Device(gauge_text())
    with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY), state_reply(dumps.BATTERY_USB)) as shell:
        use = measure(shell, device, tmp_path / "a.json")
    assert isinstance(use, Missing) and "a charger is attached" in use.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "printed nothing that can be read"),
        ("source none\n", "readable neither in sysfs nor"),
        ("source service battery\n1.00 - 4021 -\n", "0 readings of the battery's current"),
        (gauge_text(load_a=0.25), "does not show in the battery's current"),
    ],
)
def test_a_trace_that_says_nothing_has_a_reason(tmp_path: Path, text, reason):
    with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY), state_reply(dumps.BATTERY)) as shell:
        use = measure(shell, Device(text), tmp_path / "a.json")
    assert isinstance(use, Missing) and reason in use.reason


def test_a_light_load_has_a_figure_once_the_device_is_known(tmp_path: Path):
    for load_a in (0.85, 0.25):
        with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY), state_reply(dumps.BATTERY)) as shell:
            use = measure(shell, Device(gauge_text(load_a=load_a)), tmp_path / "a.json")
    assert isinstance(use, PowerUse)
    assert use.ci95[0] < 0 < use.ci95[1]


def test_the_sampler_is_ended_when_the_load_fails(tmp_path: Path):
    device = Device("", fails=True)
    with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY)) as shell, pytest.raises(RunnerError):
        measure(shell, device, tmp_path / "a.json")
    assert device.events[-1] == "stop"


def test_a_calibration_that_cannot_be_kept_is_a_reason(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY), state_reply(dumps.BATTERY)) as shell:
        use = measure(shell, Device(gauge_text()), tmp_path / "file/a.json")
    assert isinstance(use, Missing) and "XDG_STATE_HOME" in use.reason


def test_what_stands_against_a_power_pass_is_known_without_one():
    with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY)) as shell:
        assert power_unavailable(shell) is None
    with ScriptedShell(NO_RAILS, state_reply(dumps.BATTERY_USB)) as shell:
        assert "unplug it" in (power_unavailable(shell) or "")
