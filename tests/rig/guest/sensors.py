"""What a phone's kernel and services say of battery, heat and clock, computed from the load that is really there.

The load is what everything but the rig itself asks for, in processors: time that it runs or waits for its turn.
Current, rails and temperature follow it; the texts of /sys and of `dumpsys` are rendered from them ten times a second.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from string import Template
from typing import Any

SYS = Path("/sys")
BATTERY = SYS / "class/power_supply/battery"
TEMPLATES = Path("/opt/rig/dumpsys")
RUN = Path("/run/rig")
SCREEN = RUN / "control/screen"
SMOOTHING_S = 0.2
IDLE_LOAD = 0.2


class Sensors:
    """`settings` are the personality's; personalities/phone/opt/rig/settings.json has all of them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.load = 0.0
        self.temperature_c: float = settings["start_c"]
        self.charge_uah: float = settings["capacity_mah"] * 10.0 * settings["level_percent"]
        self.rails_mj: dict[str, float] = dict.fromkeys(settings["rails"], 1000.0)
        self.frequencies: list[int] = sorted(settings["frequencies_khz"])
        self.time_in_state_s: dict[int, float] = dict.fromkeys(self.frequencies, 0.0)
        self.last_s: float | None = None
        self.last_s_of: dict[int, float] = {}
        self.templates = [file for file in TEMPLATES.rglob("*") if file.is_file()]
        SCREEN.parent.mkdir(parents=True)
        SCREEN.parent.chmod(0o777)  # `input` runs as the shell's user
        SCREEN.write_text(settings["screen"])
        SCREEN.chmod(0o666)

    def tick(self, now_s: float, ours: set[int]) -> None:
        seconds = 0.0 if self.last_s is None else now_s - self.last_s
        self.last_s = now_s
        self.observe_load(seconds, ours)
        self.advance(seconds)
        texts = {**self.battery(), **self.heat(), **self.clocks()}
        for path, text in texts.items():
            put(SYS / path, f"{text}\n", 0o600 if path in self.settings["unreadable"] else 0o644)
        values = self.values(now_s)
        if "class/power_supply/battery/current_now" not in self.settings["unreadable"]:
            put(RUN / "current_now", f"{values['current_now']}\n")
        for template in self.templates:
            put(RUN / "dumpsys" / template.relative_to(TEMPLATES), Template(template.read_text()).substitute(values))

    def observe_load(self, seconds: float, ours: set[int]) -> None:
        demanded_s = {pid: total for pid, total in demanded_seconds().items() if pid not in ours}
        used_s = sum(max(0.0, total - self.last_s_of.get(pid, total)) for pid, total in demanded_s.items())
        self.last_s_of = demanded_s
        if seconds > 0:
            self.load += (used_s / seconds - self.load) * (1 - math.exp(-seconds / SMOOTHING_S))

    def advance(self, seconds: float) -> None:
        settings, heat = self.settings, self.settings["heat"]
        target_c = heat["ambient_c"] + heat["c_per_core"] * self.load
        self.temperature_c += (target_c - self.temperature_c) * (1 - math.exp(-seconds / heat["time_constant_s"]))
        self.throttled = self.temperature_c >= heat["throttle_above_c"]
        self.cap_khz = self.frequencies[-2] if self.throttled else self.frequencies[-1]
        self.frequency_khz = self.cap_khz if self.load >= IDLE_LOAD else self.frequencies[0]
        self.time_in_state_s[self.frequency_khz] += seconds
        drawn_ma = settings["idle_ma"] + settings["ma_per_core"] * self.load
        self.current_ma = drawn_ma - (settings["charger_ma"] if settings["plugged"] else 0)
        self.charge_uah -= self.current_ma * 1000 * seconds / 3600
        for name, (idle_mw, mw_per_core) in settings["rails"].items():
            self.rails_mj[name] += (idle_mw + mw_per_core * self.load) * seconds

    def values(self, now_s: float) -> dict[str, object]:
        """What the templates may name, in the units that Android's own texts use."""
        plugged = self.settings["plugged"]
        screen_on = SCREEN.read_text().strip() == "on"
        ma = self.current_ma * self.settings["discharge_sign"]
        return {
            "battery_note": self.settings["battery_note"],
            "capacity": self.settings["level_percent"],
            "capacity_mah": self.settings["capacity_mah"],
            "charge_counter": round(self.charge_uah),
            "current_now": round(ma * 1000 if self.settings["current_unit"] == "uA" else ma),
            "voltage_mv": round(self.settings["voltage_mv"] - 0.05 * self.current_ma),
            "temp": round(self.temperature_c * 10),
            "celsius": f"{self.temperature_c:.1f}",
            "thermal_status": self.settings["heat"]["throttle_status"] if self.throttled else 0,
            "cooling_state": int(self.throttled),
            "status": "Charging" if plugged else "Discharging",
            "status_number": 2 if plugged else 3,
            "usb_powered": "true" if plugged else "false",
            "wakefulness": "Awake" if screen_on else "Asleep",
            "display": "ON" if screen_on else "OFF",
            "uptime_ms": round(now_s * 1000),
            "rail_rows": "\n".join(f"    {name:<40}{mj:>18.2f} mWs (0.00)" for name, mj in self.rails_mj.items()),
        }

    def battery(self) -> dict[str, object]:
        values = self.values(0.0)
        folder = "class/power_supply/battery"
        same = ("capacity", "status", "temp", "charge_counter", "current_now")
        return {
            **{f"{folder}/{name}": values[name] for name in same},
            f"{folder}/type": "Battery",
            f"{folder}/present": 1,
            f"{folder}/voltage_now": round(self.settings["voltage_mv"] * 1000 - 50 * self.current_ma),
            "class/power_supply/usb/type": "USB",
            "class/power_supply/usb/online": int(self.settings["plugged"]),
        }

    def heat(self) -> dict[str, object]:
        texts: dict[str, object] = {
            "class/thermal/cooling_device0/type": "thermal-cpufreq-0",
            "class/thermal/cooling_device0/cur_state": int(self.throttled),
        }
        for number, kind in enumerate(self.settings["zones"]):
            texts[f"class/thermal/thermal_zone{number}/type"] = kind
            texts[f"class/thermal/thermal_zone{number}/temp"] = round(self.temperature_c * 1000)
        return texts

    def clocks(self) -> dict[str, object]:
        """One policy for all processors; a processor's own folder is a link to it, as in a real /sys."""
        folder = "devices/system/cpu/cpufreq/policy0"
        cpus = range(os.cpu_count() or 1)
        for cpu in cpus:
            link = SYS / f"devices/system/cpu/cpu{cpu}/cpufreq"
            if link.parent.is_dir() and not link.is_symlink():
                link.symlink_to("../cpufreq/policy0")
        return {
            f"{folder}/related_cpus": " ".join(map(str, cpus)),
            f"{folder}/scaling_governor": "schedutil",
            f"{folder}/scaling_cur_freq": self.frequency_khz,
            f"{folder}/scaling_min_freq": self.frequencies[0],
            f"{folder}/scaling_max_freq": self.cap_khz,
            f"{folder}/cpuinfo_max_freq": self.frequencies[-1],
            f"{folder}/scaling_available_frequencies": " ".join(map(str, self.frequencies)),
            f"{folder}/stats/time_in_state": "\n".join(
                f"{f} {round(self.time_in_state_s[f] * 100)}" for f in self.frequencies
            ),
        }


def demanded_seconds() -> dict[int, float]:
    """Processor time that each process has had or waited for so far: a busy host must not cool a device down."""
    demanded = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            total_ns = 0
            with contextlib.suppress(OSError):  # it ended meanwhile
                for thread in os.listdir(f"/proc/{name}/task"):
                    with open(f"/proc/{name}/task/{thread}/schedstat") as file:
                        ran_ns, waited_ns, _ = file.read().split()
                    total_ns += int(ran_ns) + int(waited_ns)
            demanded[int(name)] = total_ns / 1e9
    return demanded


def put(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file at once: whoever reads it sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.chmod(mode)
    beside.rename(path)
