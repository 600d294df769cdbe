"""Temperature and clocks of a Linux device under a load, read there again and again by a small program of its own.

Beside a timed loop it would be a disturbance; beside a load of minutes it is a known cost: a reading starts six to ten
processes and takes 5 to 6 ms of an x86-64 processor, 0.06% of a window of ten seconds. On a phone, where it was not
timed, two calls of `dumpsys` come on top.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from device_bench.device import Missing
from device_bench.probes.state import HEAT_SCRIPT, MARK, DeviceState, parse_state
from device_bench.probes.throttle import UNAVAILABLE, mean_clock_mhz, was_throttled
from device_bench.records import Record

MAX_READINGS = 2000

# $1 root of sysfs, $2 seconds between readings, $3 seconds after which it ends by itself
SAMPLER = f"""
read -r now rest </proc/uptime; end=$((${{now%%.*}} + $3))
while read -r now rest </proc/uptime; [ "${{now%%.*}}" -lt "$end" ]; do
{HEAT_SCRIPT}
say end
sleep "$2" 2>/dev/null || sleep 1
done
"""


class HeatReading(Record):
    uptime_s: float
    """By /proc/uptime of the device."""
    temperature_c: float | None
    freq_mhz: float | None
    """Mean clock, since the reading before, of the cluster that did most of the work."""


class Heat(Record):
    sensor: str | None
    """Whose temperature it is, the same one in all readings; None where there is none."""
    readings: tuple[HeatReading, ...]
    throttled: bool | None


def sampler_argv(every_s: float, longest_s: float, sysfs: str = "/sys") -> list[str]:
    """The sampler as a command; it ends by itself after `longest_s` seconds."""
    return ["sh", "-c", SAMPLER, "sh", sysfs, f"{every_s:g}", str(int(longest_s))]


def parse_heat(text: str) -> Heat | Missing:
    """The sampler's output; a reading that was cut off (the last one) is left out."""
    parts = re.split(rf"^{re.escape(MARK)} uptime\r?$", text, flags=re.MULTILINE)[1 : MAX_READINGS + 1]
    whole = [part for part in parts if re.search(rf"^{re.escape(MARK)} end\r?$", part, re.MULTILINE)]
    return heat_of([parse_state(f"{MARK} uptime\n{part}") for part in whole])


def heat_of(states: Sequence[DeviceState]) -> Heat | Missing:
    """Temperatures of one sensor, and clocks, from readings of the device's state in order."""
    timed = [(state.uptime_s, state) for state in states if state.uptime_s is not None]
    if len(timed) < 2:
        return Missing(reason=f"{len(timed)} readings of the device's state while it was under load; two are needed")
    states = [state for _, state in timed]
    sensor, temperature_c = _sensor(states)
    pairs = [(states[0], states[0]), *pairwise(states)]
    readings = tuple(
        HeatReading(
            uptime_s=uptime_s,
            temperature_c=temperature_c(state),
            freq_mhz=mean_clock_mhz(before, state),
        )
        for (uptime_s, state), (before, _) in zip(timed, pairs, strict=True)
    )
    throttled = any(was_throttled(a, b) for a, b in pairwise(states)) or was_throttled(states[0], states[-1])
    if sensor is None and throttled is None and all(reading.freq_mhz is None for reading in readings):
        return Missing(reason=UNAVAILABLE)
    return Heat(sensor=sensor, readings=readings, throttled=throttled)


def _sensor(states: Sequence[DeviceState]) -> tuple[str | None, Callable[[DeviceState], float | None]]:
    """The skin, else the battery, else the hottest of the sensors that all readings have."""
    if all(state.skin_c is not None for state in states):
        return "skin", lambda state: state.skin_c
    if all(state.battery_c is not None for state in states):
        return "battery", lambda state: state.battery_c
    common = set.intersection(*(set(state.temperatures_c) for state in states))
    if not common:
        return None, lambda state: None
    hottest = max(sorted(common), key=lambda name: max(state.temperatures_c[name] for state in states))
    return hottest, lambda state: state.temperatures_c[hottest]
