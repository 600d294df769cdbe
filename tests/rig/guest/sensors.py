"""What a phone's kernel and services say of battery, heat and clock, computed from the load that is really there.

The load is the processor time that everything but the rig itself uses, in processors. Current, rails and temperature
follow it; the texts of /sys and of `dumpsys` are rendered from them ten times a second.
"""

from __future__ import annotations

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
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SMOOTHING_S = 0.2


class Sensors:
    """`settings` are the personality's; see personalities/phone/opt/rig/settings.json for all of them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.load = 0.0
        self.temperature_c: float = settings["start_c"]
        self.charge_uah: float = settings["capacity_mah"] * 10.0 * settings["level_percent"]
        self.rails_mj: dict[str, float] = dict.fromkeys(settings["rails"], 1000.0)
        self.time_in_state: dict[int, float] = dict.fromkeys(settings["frequencies_khz"], 0.0)
        self.frequency_khz: int = max(settings["frequencies_khz"])
        self.last_s: float | None = None
        self.last_cpu_s: dict[int, float] = {}
        for folder in (RUN / "dumpsys", SCREEN.parent, BATTERY):
            folder.mkdir(parents=True, exist_ok=True)
        SCREEN.parent.chmod(0o777)  # `input` runs as the shell's user
        SCREEN.write_text(settings["screen"])
        SCREEN.chmod(0o666)
        for name in settings["absent"]:
            (SYS / name).unlink(missing_ok=True)

    def tick(self, now_s: float, ours: set[int]) -> None:
        seconds = 0.0 if self.last_s is None else now_s - self.last_s
        self.last_s = now_s
        self.observe_load(seconds, ours)
        self.advance(seconds)
        self.publish(now_s)

    def observe_load(self, seconds: float, ours: set[int]) -> None:
        cpu_s = {pid: used for pid, used in processor_seconds().items() if pid not in ours}
        used_s = sum(used - self.last_cpu_s.get(pid, used) for pid, used in cpu_s.items())
        self.last_cpu_s = cpu_s
        if seconds > 0:
            self.load += (used_s / seconds - self.load) * (1 - math.exp(-seconds / SMOOTHING_S))

    def advance(self, seconds: float) -> None:
        heat = self.settings["heat"]
        target_c = heat["ambient_c"] + heat["c_per_core"] * self.load
        self.temperature_c += (target_c - self.temperature_c) * (1 - math.exp(-seconds / heat["time_constant_s"]))
        throttled = self.temperature_c >= heat["throttle_above_c"]
        frequencies = self.settings["frequencies_khz"]
        self.frequency_khz = min(frequencies) if throttled or self.load < 0.2 else max(frequencies)
        self.status = heat["throttle_status"] if throttled else 0
        self.time_in_state[self.frequency_khz] += seconds
        self.current_ma = self.settings["idle_ma"] + self.settings["ma_per_core"] * self.load
        if self.settings["plugged"]:
            self.current_ma -= self.settings["charger_ma"]
        self.charge_uah -= self.current_ma * 1000 * seconds / 3600
        for name, (idle_mw, mw_per_core) in self.settings["rails"].items():
            self.rails_mj[name] += (idle_mw + mw_per_core * self.load) * seconds

    def publish(self, now_s: float) -> None:
        values = self.values(now_s)
        for name in ("current_now", "voltage_now", "temp", "capacity", "status", "charge_counter"):
            if f"class/power_supply/battery/{name}" not in self.settings["absent"]:
                put(BATTERY / name, f"{values[name]}\n", self.mode(BATTERY / name))
        put(RUN / "current_now", f"{values['current_now']}\n")
        for number, kind in enumerate(self.settings["zones"]):
            zone = SYS / f"class/thermal/thermal_zone{number}"
            put(zone / "type", kind + "\n")
            put(zone / "temp", f"{round(self.temperature_c * 1000)}\n", self.mode(zone / "temp"))
        self.publish_frequencies()
        for template in TEMPLATES.rglob("*"):
            if template.is_file():
                text = Template(template.read_text()).substitute(values)
                put(RUN / "dumpsys" / template.relative_to(TEMPLATES), text)

    def publish_frequencies(self) -> None:
        states = "".join(f"{khz} {round(s * 100)}\n" for khz, s in sorted(self.time_in_state.items()))
        frequencies = self.settings["frequencies_khz"]
        for cpu in range(os.cpu_count() or 1):
            folder = SYS / f"devices/system/cpu/cpu{cpu}/cpufreq"
            put(folder / "scaling_cur_freq", f"{self.frequency_khz}\n")
            put(folder / "cpuinfo_max_freq", f"{max(frequencies)}\n")
            put(folder / "scaling_max_freq", f"{min(frequencies) if self.status else max(frequencies)}\n")
            put(folder / "scaling_available_frequencies", " ".join(map(str, sorted(frequencies))) + "\n")
            put(folder / "stats/time_in_state", states)

    def values(self, now_s: float) -> dict[str, object]:
        """What the templates may name: in the units that Android's own texts use."""
        screen_on = SCREEN.read_text().strip() == "on"
        ma = self.current_ma * self.settings["discharge_sign"]
        voltage_mv = self.settings["voltage_mv"] - 0.05 * self.current_ma
        celsius = self.temperature_c
        return {
            "current_now": round(ma * 1000 if self.settings["current_unit"] == "uA" else ma),
            "voltage_now": round(voltage_mv * 1000),
            "voltage_mv": round(voltage_mv),
            "temp": round(celsius * 10),
            "celsius": f"{celsius:.1f}",
            "thermal_status": self.status,
            "capacity": self.settings["level_percent"],
            "status": "Charging" if self.settings["plugged"] else "Discharging",
            "status_number": 2 if self.settings["plugged"] else 3,
            "usb_powered": str(bool(self.settings["plugged"])).lower(),
            "charge_counter": round(self.charge_uah),
            "wakefulness": "Awake" if screen_on else "Asleep",
            "display": "ON" if screen_on else "OFF",
            "uptime_ms": round(now_s * 1000),
            "rail_rows": self.rail_rows(),
        }

    def rail_rows(self) -> str:
        return "\n".join(f"    {name:<50}{mj:>18.2f} mWs ({0.0:.2f})" for name, mj in self.rails_mj.items())

    def mode(self, path: Path) -> int:
        return 0o600 if str(path.relative_to(SYS)) in self.settings["unreadable"] else 0o644


def processor_seconds() -> dict[int, float]:
    """Processor time that each process has used so far, user and system."""
    used = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            used[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return used


def put(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file at once: whoever reads it sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.chmod(mode)
    beside.rename(path)
