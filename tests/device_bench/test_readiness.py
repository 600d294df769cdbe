import pytest

from device_bench.errors import DeviceUnavailableError
from device_bench.probes.state import DeviceState
from device_bench.readiness import POLL_S, Gatekeeper, rejections
from device_bench.records import Readiness
from tests.device_bench.probes.shells import ScriptedShell

ON, OFF = (["input", "keyevent", "KEYCODE_WAKEUP"], ""), (["input", "keyevent", "KEYCODE_SLEEP"], "")


class Clock:
    now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def __call__(self) -> float:
        return self.now_s


def gatekeeper(shell: ScriptedShell, states: list[DeviceState], clock: Clock) -> Gatekeeper:
    """The states come in turn, and the last one stays."""
    return Gatekeeper(shell, lambda _: states.pop(0) if len(states) > 1 else states[0], clock.sleep, clock)


def phone(**changes: object) -> DeviceState:
    given = {"battery_percent": 80.0, "battery_c": 30.0, "skin_c": 31.0, "screen_on": True, **changes}
    return DeviceState.model_validate(given)


def test_a_phone_that_is_ready_is_left_alone():
    clock = Clock()
    with ScriptedShell() as shell:
        keeper = gatekeeper(shell, [phone()], clock)
        assert keeper.make_ready(Readiness(screen="on")) == phone()
        keeper.restore()
    assert clock.now_s == 0


def test_a_board_without_screen_battery_and_skin_is_ready_however_hot_its_processor():
    board = DeviceState(temperatures_c={"cpu": 85.0})
    with ScriptedShell() as shell:
        assert gatekeeper(shell, [board], Clock()).make_ready(Readiness(screen="off")) == board


@pytest.mark.parametrize(("wanted", "key", "back"), [("off", OFF, ON), ("on", ON, OFF)])
def test_the_screen_is_switched_and_switched_back_once(wanted, key, back):
    on = wanted == "on"
    states = [phone(screen_on=not on), phone(screen_on=not on), phone(screen_on=on)]
    with ScriptedShell(key, back) as shell:
        keeper = gatekeeper(shell, states, Clock())
        assert keeper.make_ready(Readiness(screen=wanted)).screen_on is on
        keeper.make_ready(Readiness(screen=wanted))
        keeper.restore()
        keeper.restore()


def test_a_screen_that_does_not_obey_is_an_error_and_is_restored():
    with ScriptedShell(OFF, ON) as shell:
        keeper = gatekeeper(shell, [phone()], Clock())
        with pytest.raises(DeviceUnavailableError, match=r"screen is on: .* asks for off.*leave --screen"):
            keeper.make_ready(Readiness(screen="off"))
        keeper.restore()


def test_an_empty_battery_is_an_error():
    with (
        ScriptedShell() as shell,
        pytest.raises(DeviceUnavailableError, match=r"battery at 12 %: at least 20 % is wanted; charge it"),
    ):
        gatekeeper(shell, [phone(battery_percent=12.0)], Clock()).make_ready(Readiness())


def test_a_charger_is_no_obstacle():
    clock = Clock()
    with ScriptedShell() as shell:
        assert gatekeeper(shell, [phone(powered=True)], clock).make_ready(Readiness()).powered is True
    assert clock.now_s == 0


def test_heat_is_waited_for():
    clock = Clock()
    states = [phone(battery_c=43.0), phone(skin_c=41.0), phone(skin_c=40.0)]
    with ScriptedShell() as shell:
        assert gatekeeper(shell, states, clock).make_ready(Readiness(max_start_c=40.0)).skin_c == 40.0
    assert clock.now_s == 2 * POLL_S


@pytest.mark.parametrize("wait_s", [0.0, 12.0])
def test_heat_that_stays_is_an_error_with_the_last_temperatures(wait_s):
    clock = Clock()
    text = rf"battery at 38\.0 C, skin at 44\.5 C after {wait_s:.0f} s of waiting: at most 40 C is wanted; let it cool"
    with ScriptedShell() as shell, pytest.raises(DeviceUnavailableError, match=text):
        gatekeeper(shell, [phone(battery_c=38.0, skin_c=44.5)], clock).make_ready(Readiness(wait_s=wait_s))
    assert clock.now_s == wait_s


def test_no_limit_does_not_wait():
    clock = Clock()
    with ScriptedShell() as shell:
        assert gatekeeper(shell, [phone(skin_c=60.0)], clock).make_ready(Readiness(max_start_c=None)).skin_c == 60.0
    assert clock.now_s == 0


@pytest.mark.parametrize(
    ("screen", "is_on", "n"), [("on", False, 1), ("off", True, 1), ("on", True, 0), ("any", False, 0), ("on", None, 0)]
)
def test_a_screen_that_switched_itself_spoils_the_measurement(screen, is_on, n):
    assert len(rejections(Readiness(screen=screen), phone(screen_on=is_on))) == n
