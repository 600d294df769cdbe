"""Texts of Android's `dumpsys`, read one by one; what a text does not say is None, whatever else it holds.

Formats are those that the services of Android 8 to 16 print: BatteryService, ThermalManagerService,
PowerManagerService (frameworks/base/services in AOSP).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from device_bench.records import Record

MAX_DIGITS = 15
CELSIUS = (-40.0, 150.0)
"""What a sensor in a phone can say; beyond lie marks such as -99.9 or -273.15 for "no such sensor"."""
SKIN, BATTERY = 3, 2
NOT_CELSIUS = (6, 7, 8)  # BCL_VOLTAGE, BCL_CURRENT, BCL_PERCENTAGE come as temperatures and are none (Thermal HAL 2.0)
CHARGING, FULL = 2, 5  # BatteryManager.BATTERY_STATUS_*
BRIGHT = {"ON": True, "VR": True, "OFF": False, "DOZE": False, "DOZE_SUSPEND": False, "ON_SUSPEND": False}
AWAKE = {"Awake": True, "Dreaming": True, "Asleep": False, "Dozing": False}


class BatteryDump(Record):
    percent: float | None
    powered: bool | None
    """A charger is attached or the battery is being charged."""
    frozen: bool
    """`dumpsys battery set` or `unplug` was used: the service shows what it was told, not what is."""
    celsius: float | None
    charge_uah: int | None


class ThermalDump(Record):
    status: int | None
    """PowerManager.THERMAL_STATUS_*: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown."""
    skin_c: float | None
    battery_c: float | None
    all_c: dict[str, float]


def parse_battery(text: str) -> BatteryDump:
    """`dumpsys battery`: level in `scale`ths, temperature in 0.1 degrees, charge counter in uAh."""
    plugs = re.findall(r"^\s*(?:AC|USB|Wireless|Dock) powered: (true|false)\s*$", text, re.MULTILINE)
    status, level, scale, tenths = (_field(text, name) for name in ("status", "level", "scale", "temperature"))
    powered = "true" in plugs or status in (CHARGING, FULL) if plugs or status is not None else None
    return BatteryDump(
        percent=100 * level / scale if level is not None and scale and 0 <= level <= scale else None,
        powered=powered,
        frozen="(UPDATES STOPPED" in text,
        celsius=None if tenths is None else plausible_c(tenths / 10),
        charge_uah=_field(text, "Charge counter"),
    )


def parse_thermal(text: str) -> ThermalDump:
    """`dumpsys thermalservice`; the HAL's current temperatures count, the cached ones only where there are no others.

    The cache holds each sensor's value of its last *event*, which may be hours old. A value of exactly 0 is a
    sensor that is not there (Samsung), and some builds number the types one too high while the name is right: the
    name counts first.
    """
    status = re.search(r"^\s*Thermal Status: (\d)\s*$", text, re.MULTILINE)
    _, _, current = text.partition("Current temperatures from HAL:")
    readings = _temperatures(current) or _temperatures(text)
    return ThermalDump(
        status=int(status.group(1)) if status else None,
        skin_c=_hottest(readings, "skin", SKIN),
        battery_c=_hottest(readings, "bat", BATTERY),
        all_c={name: celsius for name, _, celsius in readings},
    )


def parse_screen(text: str) -> bool | None:
    """`dumpsys power`: the display's own state where it is printed (Android 12 and before), else the wakefulness.

    An always-on display (DOZE) counts as off: that is what the power key gives there.
    """
    for pattern, meaning in ((r"Display Power: state=(\w+)", BRIGHT), (r"mWakefulness=(\w+)", AWAKE)):
        match = re.search(pattern, text)
        if match and match.group(1) in meaning:
            return meaning[match.group(1)]
    return None


def plausible_c(celsius: float) -> float | None:
    return celsius if CELSIUS[0] < celsius < CELSIUS[1] and celsius != 0 else None


def whole(text: str) -> int | None:
    """A whole number of at most `MAX_DIGITS` digits; None for anything else."""
    return int(text) if re.fullmatch(rf"-?[0-9]{{1,{MAX_DIGITS}}}", text.strip()) else None


def sections(text: str, mark: str) -> Mapping[str, str]:
    """The parts of a text, each headed by a line `MARK NAME`."""
    parts = re.split(rf"^{re.escape(mark)} (\w+)\r?$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _field(text: str, name: str) -> int | None:
    match = re.search(rf"^\s*{re.escape(name)}: (-?\d+)\s*$", text, re.MULTILINE)
    return whole(match.group(1)) if match else None


def _temperatures(text: str) -> list[tuple[str, int, float]]:
    """(name, type, degrees Celsius) of each sensor that says something believable."""
    found = []
    for value, kind, name in re.findall(
        r"\{mValue=(-?\d{1,6}(?:\.\d{1,9})?), mType=(-?\d{1,3}), mName=([^,}\n]{1,80})", text
    ):
        celsius = plausible_c(float(value))
        if celsius is not None and int(kind) not in NOT_CELSIUS:
            found.append((name, int(kind), celsius))
    return found


def _hottest(readings: list[tuple[str, int, float]], word: str, kind: int) -> float | None:
    named = [celsius for name, _, celsius in readings if word in name.lower()]
    typed = [celsius for _, number, celsius in readings if number == kind]
    return max(named or typed, default=None)
