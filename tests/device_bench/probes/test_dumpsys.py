import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.probes.dumpsys import parse_battery, parse_screen, parse_thermal, plausible_c, sections
from tests.device_bench.probes import dumps

TEXTS = [dumps.BATTERY_FROZEN, dumps.THERMAL_PIXEL, dumps.THERMAL_SAMSUNG, "mWakefulness=Awake", dumps.RAILS]


def test_a_battery_in_its_own_units():
    battery = parse_battery(dumps.BATTERY)
    assert (battery.percent, battery.celsius, battery.charge_uah) == (75.0, 31.2, 2_085_000)
    assert (battery.powered, battery.frozen) == (False, False)


@pytest.mark.parametrize("text", [dumps.BATTERY_USB, dumps.BATTERY.replace("status: 3", "status: 5")])
def test_a_charger_or_a_full_battery_is_powered(text):
    assert parse_battery(text).powered is True


def test_a_frozen_service_is_seen():
    assert parse_battery(dumps.BATTERY_FROZEN).frozen is True


@pytest.mark.parametrize("line", ["scale: 0", "scale: x", "level: 101", "level: 99999999999999999999"])
def test_a_level_that_cannot_be_is_none(line):
    name = line.partition(":")[0]
    kept = [text for text in dumps.BATTERY.splitlines() if not text.strip().startswith(f"{name}:")]
    assert parse_battery("\n".join([*kept, f"  {line}"])).percent is None


def test_current_temperatures_count_before_cached_ones():
    thermal = parse_thermal(dumps.THERMAL_PIXEL)
    assert (thermal.status, thermal.skin_c, thermal.battery_c) == (0, 32.100002, 29.4)
    assert "batoilo" not in thermal.all_c and "soc" not in thermal.all_c  # amperes and per cent


def test_cached_temperatures_count_where_there_are_no_others_and_zero_is_no_sensor():
    thermal = parse_thermal(dumps.THERMAL_SAMSUNG)
    assert (thermal.status, thermal.skin_c, thermal.battery_c) == (1, 38.0, 32.2)
    assert set(thermal.all_c) == {"AP", "BAT", "SKIN"}


def test_a_name_counts_before_a_type():
    thermal = parse_thermal(dumps.THERMAL_OFF_BY_ONE)
    assert (thermal.skin_c, thermal.battery_c) == (25.3, 24.4)
    assert "TYPE_POWER_AMPLIFIER" not in thermal.all_c


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("  mWakefulness=Awake\nDisplay Power: state=ON\n", True),
        ("  mWakefulness=Awake\nDisplay Power: state=OFF\n", False),
        ("  mWakefulness=Dozing\nDisplay Power: state=DOZE_SUSPEND\n", False),
        ("  mWakefulness=Awake\n", True),
        ("  mWakefulness=Asleep\n", False),
        ("  mWakefulness=Awake\nDisplay Power: state=UNKNOWN\n", True),
        ("", None),
        ("Can't find service: power", None),
    ],
)
def test_the_screen(text, on):
    assert parse_screen(text) is on


def test_sections_are_split_at_their_marks():
    assert sections("noise\n@m a\n1\n@m b\r\n@m c d\n2\n", "@m") == {"a": "\n1\n", "b": "\n@m c d\n2\n"}


@given(st.one_of(st.text(), st.sampled_from(TEXTS).flatmap(lambda t: st.tuples(st.just(t), st.text(), st.integers(0)))))
def test_garbage_is_never_an_error(drawn):
    if isinstance(drawn, tuple):
        text, noise, at = drawn
        at %= len(text) + 1
        drawn = text[:at] + noise + text[at:]
    battery, thermal = parse_battery(drawn), parse_thermal(drawn)
    assert battery.percent is None or 0 <= battery.percent <= 100
    celsius = (battery.celsius, thermal.battery_c, thermal.skin_c)
    assert all(c is None or plausible_c(c) == c for c in celsius)
    assert parse_screen(drawn) in (True, False, None)
