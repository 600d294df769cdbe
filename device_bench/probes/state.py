"""The state of a phone or board, read in one round trip: battery, heat, clocks, screen, storage.

One script runs there (mksh with toybox on a phone, dash or busybox on a board) and prints what there is; what there
is not, or what this user may not read, stays None. It is read before and after a measurement and never during one:
what happened between is told by counters that the kernel keeps anyway (`time_in_state`, /proc/stat).
"""

from __future__ import annotations

import re

from pydantic import Field

from device_bench.probes.dumpsys import parse_battery, parse_screen, parse_thermal, plausible_c, sections, whole
from device_bench.records import Record
from device_bench.shell import Shell

MARK = "@pocketprune@"
TIMEOUT_S = 40.0
MAX_CHARS = 1_000_000
TICK_S = 0.01  # time_in_state and /proc/stat count in USER_HZ, 100 on every Linux that phones and boards run
BATTERY_LIKE = re.compile(r"bat", re.IGNORECASE)
CPU_COOLING = re.compile(r"cpu|^processor$", re.IGNORECASE)  # ACPI calls a PC's "Processor"

# `grep -Hs ""` prints PATH:LINE of every file it may read, in one process, and skips the others without a word.
# What changes under a load; `heat.py` asks for it again and again.
HEAT_SCRIPT = f"""
say() {{ echo "{MARK} $1"; }}
say uptime; cat /proc/uptime 2>/dev/null
say stat; grep '^cpu[0-9]' /proc/stat 2>/dev/null
cd "$1/class/power_supply" 2>/dev/null && {{
  say supply
  grep -Hs "" */type */status */online */capacity */temp */charge_counter
}}
cd "$1/class/thermal" 2>/dev/null && {{
  say heat
  grep -Hs "" thermal_zone*/type thermal_zone*/temp cooling_device*/type cooling_device*/cur_state
}}
cd "$1/devices/system/cpu" 2>/dev/null && {{
  say clocks
  grep -Hs "" cpu[0-9]*/cpufreq/scaling_cur_freq cpu[0-9]*/cpufreq/scaling_max_freq \\
    cpu[0-9]*/cpufreq/cpuinfo_max_freq cpufreq/policy*/related_cpus cpufreq/policy*/scaling_governor \\
    cpufreq/policy*/stats/time_in_state cpu[0-9]*/thermal_throttle/*_throttle_count
}}
command -v dumpsys >/dev/null && {{
  say battery; dumpsys battery 2>/dev/null
  say thermal; dumpsys thermalservice 2>/dev/null
}}
"""
SCRIPT = (
    HEAT_SCRIPT
    + """
say storage
for base in /data/local/tmp /var/tmp /tmp; do
  [ -w "$base" ] && { df -kP "$base" 2>/dev/null; break; }
done
command -v dumpsys >/dev/null && {
  say power; dumpsys power 2>/dev/null | grep -E 'mWakefulness=|Display Power: state='
}
say end
"""
)


class CpuClock(Record):
    """Clock of one CPU in kHz: what is asked of it now, the most that is allowed now, the most that it can do."""

    now_khz: int | None = None
    cap_khz: int | None = None
    top_khz: int | None = None


class ClockPolicy(Record):
    """CPUs that share a clock, and how long it has stood at each frequency since boot."""

    cpus: tuple[int, ...]
    governor: str | None
    seconds_at_khz: dict[int, float]


class DeviceState(Record):
    """What a device says of itself at one instant; None is "it does not say"."""

    uptime_s: float | None = None
    battery_percent: float | None = None
    powered: bool | None = None
    """A charger is attached or the battery is being charged; None also while the battery service is frozen and
    sysfs does not say."""
    battery_frozen: bool = False
    battery_c: float | None = None
    charge_uah: int | None = None
    skin_c: float | None = None
    thermal_status: int | None = None
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    """Every sensor: those of the thermal service on a phone, the kernel's thermal zones elsewhere."""
    cpu_cooling: int | None = None
    """Sum of the kernel's CPU cooling states: above 0, it holds the clock down because of heat."""
    throttle_count: int | None = None
    """Throttle events that an x86 processor counts."""
    clocks: dict[int, CpuClock] = Field(default_factory=dict)
    policies: dict[str, ClockPolicy] = Field(default_factory=dict)
    busy_s: dict[int, float] = Field(default_factory=dict)
    """Time that each CPU was not idle since boot."""
    screen_on: bool | None = None
    free_mb: float | None = None

    @property
    def has_battery(self) -> bool:
        return self.battery_percent is not None or self.battery_c is not None or self.charge_uah is not None


def read_state(shell: Shell, sysfs: str = "/sys") -> DeviceState:
    """The device's state now; costs one round trip, and on the device what `dumpsys` takes.

    Raises:
        TransientDeviceError: the link broke.
        RunnerError: the device did not answer in time.
    """
    return parse_state(shell.run(["sh", "-c", SCRIPT, "sh", sysfs], TIMEOUT_S).stdout)


def read_heat(shell: Shell, sysfs: str = "/sys") -> DeviceState:
    """Heat and clocks alone, as of a machine without storage or screen that we care for; errors as for `read_state`."""
    return parse_state(shell.run(["sh", "-c", HEAT_SCRIPT, "sh", sysfs], TIMEOUT_S).stdout)


def parse_state(text: str) -> DeviceState:
    """The state from what the script printed; never fails, whatever the text is."""
    part = sections(text[:MAX_CHARS], MARK)
    battery, thermal = parse_battery(part.get("battery", "")), parse_thermal(part.get("thermal", ""))
    supply, heat, clocks = (_files(part.get(name, "")) for name in ("supply", "heat", "clocks"))
    zones_c = _zones_c(heat)
    node = next((name for name in _devices(supply) if _one(supply, f"{name}/type") == "Battery"), "")
    node_c = whole(_one(supply, f"{node}/temp"))
    level = whole(_one(supply, f"{node}/capacity"))
    uptime = re.match(r"\s*(\d{1,12}\.\d{1,6}) ", part.get("uptime", ""))
    capacity = float(level) if level is not None and 0 <= level <= 100 else None
    charge_uah = whole(_one(supply, f"{node}/charge_counter"))
    battery_c = _first(battery.celsius, thermal.battery_c, None if node_c is None else plausible_c(node_c / 10))
    return DeviceState(
        uptime_s=float(uptime.group(1)) if uptime else None,
        battery_percent=_first(battery.percent, capacity),
        powered=_powered(battery.powered, battery.frozen, supply, node),
        battery_frozen=battery.frozen,
        battery_c=battery_c if battery_c is not None else _hottest(zones_c, BATTERY_LIKE),
        charge_uah=battery.charge_uah if battery.charge_uah is not None else charge_uah,
        skin_c=thermal.skin_c if thermal.skin_c is not None else _hottest(zones_c, re.compile("skin", re.IGNORECASE)),
        thermal_status=thermal.status,
        temperatures_c=thermal.all_c or zones_c,
        cpu_cooling=_cooling(heat),
        throttle_count=_total(clocks, "_throttle_count"),
        clocks=_clocks(clocks),
        policies=_policies(clocks),
        busy_s=_busy_s(part.get("stat", "")),
        screen_on=parse_screen(part.get("power", "")),
        free_mb=_free_mb(part.get("storage", "")),
    )


Files = dict[str, list[str]]
"""Path -> its lines."""


def _files(text: str) -> Files:
    files: Files = {}
    for line in text.splitlines():
        path, colon, content = line.partition(":")
        if colon:
            files.setdefault(path, []).append(content.strip())
    return files


def _one(files: Files, path: str) -> str:
    return files.get(path, [""])[0]


def _devices(files: Files) -> list[str]:
    return sorted({path.partition("/")[0] for path in files})


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _total(files: Files, ending: str) -> int | None:
    counts = [whole(lines[0]) for path, lines in files.items() if path.endswith(ending)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _hottest(zones_c: dict[str, float], name: re.Pattern[str]) -> float | None:
    return max((celsius for zone, celsius in zones_c.items() if name.search(zone)), default=None)


def _zones_c(heat: Files) -> dict[str, float]:
    """Thermal zones in degrees; millidegrees by the kernel's rule (Documentation/ABI/testing/sysfs-class-thermal)."""
    zones = {}
    for zone in _devices(heat):
        value = whole(_one(heat, f"{zone}/temp"))
        celsius = None if value is None else plausible_c(value / 1000)
        if celsius is not None:
            zones[f"{_one(heat, f'{zone}/type') or 'unnamed'} ({zone})"] = celsius
    return zones


def _cooling(heat: Files) -> int | None:
    states = [
        whole(_one(heat, f"{device}/cur_state"))
        for device in _devices(heat)
        if device.startswith("cooling_device") and CPU_COOLING.search(_one(heat, f"{device}/type"))
    ]
    known = [state for state in states if state is not None]
    return sum(known) if known else None


def _powered(dumped: bool | None, frozen: bool, supply: Files, node: str) -> bool | None:
    """By the battery service, or by the kernel where there is no service or a frozen one."""
    if dumped is not None and not frozen:
        return dumped
    if not node:
        return None
    if any(_one(supply, f"{name}/online") == "1" for name in _devices(supply) if name != node):
        return True
    # "Not charging" is said of a battery that a charger keeps as it is (Documentation/ABI/testing/sysfs-class-power).
    return {"Discharging": False, "Charging": True, "Full": True, "Not charging": True}.get(
        _one(supply, f"{node}/status")
    )


def _clocks(files: Files) -> dict[int, CpuClock]:
    clocks = {}
    numbers = {int(match.group(1)) for match in (re.match(r"cpu(\d{1,4})/cpufreq/", path) for path in files) if match}
    for cpu in sorted(numbers):
        now, cap, top = (
            whole(_one(files, f"cpu{cpu}/cpufreq/{name}"))
            for name in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
        )
        clocks[cpu] = CpuClock(now_khz=now, cap_khz=cap, top_khz=top)
    return clocks


def _policies(files: Files) -> dict[str, ClockPolicy]:
    """Of each policy, seconds at each frequency from `time_in_state` (Documentation/cpu-freq/cpufreq-stats.rst)."""
    policies = {}
    for path in sorted(files):
        match = re.fullmatch(r"cpufreq/(policy\d{1,4})/related_cpus", path)
        if not match:
            continue
        folder = f"cpufreq/{match.group(1)}"
        pairs = re.findall(
            r"^(\d{1,9}) (\d{1,15})$", "\n".join(files.get(f"{folder}/stats/time_in_state", [])), re.MULTILINE
        )
        policies[match.group(1)] = ClockPolicy(
            cpus=tuple(int(cpu) for cpu in re.findall(r"\b\d{1,4}\b", _one(files, path))),
            governor=_one(files, f"{folder}/scaling_governor") or None,
            seconds_at_khz={int(khz): int(ticks) * TICK_S for khz, ticks in pairs},
        )
    return policies


def _busy_s(stat: str) -> dict[int, float]:
    """Per CPU, all columns of /proc/stat (man 5 proc) but the 4th and 5th (idle, iowait) and the guests' (7 on)."""
    busy = {}
    for cpu, columns in re.findall(r"^cpu(\d{1,4})((?: \d{1,15}){7,})", stat, re.MULTILINE):
        ticks = [int(column) for column in columns.split()]
        busy[int(cpu)] = sum(ticks[:3] + ticks[5:8]) * TICK_S
    return busy


def _free_mb(text: str) -> float | None:
    """Free space from `df -kP`: the third number before the percentage and the mount point."""
    match = re.search(r"\s\d{1,15}\s+\d{1,15}\s+(\d{1,15})\s+\d{1,3}%\s+/", text)
    return int(match.group(1)) / 1024 if match else None
