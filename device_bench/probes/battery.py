"""Current and voltage of a battery, sampled on the device itself into a file, and the power that they make.

A fuel gauge renews its reading when it likes (every 0.25 to 30 s), repeats the old one until then, follows a step of
the load seconds late, and some now and then give 0 while the device runs. So repeated readings are not taken for
samples of their own: windows are twice as long as the gauge takes to renew, the start of each phase is cut off,
zeros are dropped, and too few renewals give no figure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Literal

import numpy as np

from device_bench.device import Elapsed, Missing
from device_bench.probes.dumpsys import whole
from device_bench.records import PositiveInt, Record

SYSFS_INTERVAL_S = 0.2
SERVICE_INTERVAL_S = 2.0
SETTLE_S = 8.0
"""Cut off at the start of each phase. A OnePlus's gauge was seen to follow a step of the load after up to 7 s."""
MIN_WINDOW_S = 2.0
MIN_LOAD_WINDOWS, MIN_IDLE_WINDOWS = 5, 3
MAX_CORRELATION = 0.3
MAX_GAP_S = 5.0
"""A longer hole between samples means that the device slept, and that its idle power is not that of a waiting one."""

# Arguments: root of sysfs, seconds between samples by sysfs and by the service, seconds after which it ends by itself.
# By sysfs a sample starts one process (`sleep`) and takes 1.2 ms of an x86-64 processor, 0.6% of it; by the service it
# starts four, which is why that is asked more seldom. Neither was timed on a phone. It runs all along, idle included,
# so that what it takes is part of both and falls out of the difference.
SAMPLER = r"""
nap() { sleep "$1" 2>/dev/null || sleep 1; }
up() { read -r now rest </proc/uptime; }
battery=
for node in "$1"/class/power_supply/*; do
  type=; current=; volt=
  read -r type 2>/dev/null <"$node/type"
  [ "$type" = Battery ] && read -r current 2>/dev/null <"$node/current_now" &&
    read -r volt 2>/dev/null <"$node/voltage_now" && [ -n "$current$volt" ] && { battery=$node; break; }
done
up; end=$((${now%%.*} + $4))
if [ -n "$battery" ]; then
  echo "source sysfs ${battery##*/}"
  while up; [ "${now%%.*}" -lt "$end" ]; do
    current=; volt=; charge=
    read -r current 2>/dev/null <"$battery/current_now"
    read -r volt 2>/dev/null <"$battery/voltage_now"
    read -r charge 2>/dev/null <"$battery/charge_counter"
    echo "$now ${current:--} ${volt:--} ${charge:--}"
    nap "$2"
  done
elif command -v cmd >/dev/null && command -v dumpsys >/dev/null; then
  echo "source service battery"
  while up; [ "${now%%.*}" -lt "$end" ]; do
    current=$(cmd battery get -f current_now 2>/dev/null)
    volt=; charge=; before=; last=
    for word in $(dumpsys battery 2>/dev/null); do
      case "$before $last" in
        "charging voltage:") ;;
        *" voltage:") volt=$word;;
        "Charge counter:") charge=$word;;
      esac
      before=$last; last=$word
    done
    echo "$now ${current:--} ${volt:--} ${charge:--}"
    nap "$3"
  done
else
  echo "source none"
fi
"""


class LoadRun(Record):
    """A load that ran on the device from `start_s` to `end_s` of its uptime (/proc/uptime, CLOCK_BOOTTIME).

    The timed loop lies between the two; the moment of loading the model before it is cut off with the gauge's lag.
    Uptime differs from Python's time.monotonic on the device by the time that it was suspended.
    """

    start_s: float
    end_s: float
    busy_s: Elapsed
    """Wall time of the inferences alone."""
    inferences: PositiveInt
    median_ms: Elapsed | None = None
    """Of one inference, where the runner tells."""

    @property
    def s_per_run(self) -> float:
        return self.busy_s / self.inferences


class Reading(Record):
    uptime_s: float
    current: int
    """As the device gives it: unit and sign are not known yet."""
    volts: float
    charge_uah: int | None


Window = list[Reading]


class BatteryTrace(Record):
    source: Literal["sysfs", "service"]
    node: str
    readings: tuple[Reading, ...]


def sampler_argv(longest_s: float, sysfs: str = "/sys") -> list[str]:
    """The sampler as a command; it prints a line a sample and ends by itself after `longest_s` seconds."""
    return ["sh", "-c", SAMPLER, "sh", sysfs, str(SYSFS_INTERVAL_S), str(SERVICE_INTERVAL_S), str(int(longest_s))]


def parse_trace(text: str) -> BatteryTrace | Missing:
    """The sampler's output; lines that are none (the last one may be cut off) and zeros are left out."""
    header = re.match(r"source (sysfs|service|none) ?(\S{0,100})", text)
    if not header:
        return Missing(reason="the sampler on the device printed nothing that can be read")
    source, node = header.groups()
    if source == "none":
        return Missing(reason="the battery's current is readable neither in sysfs nor from the battery service")
    volt = 1e-6 if source == "sysfs" else 1e-3  # kernel: microvolts; BatteryService: millivolts
    readings, last_s = [], 0.0
    for line in re.findall(r"^(\d{1,12}\.\d{1,3}) (-?\d{1,15}) (\d{1,15}) (-|-?\d{1,15})\r?\n", text, re.MULTILINE):
        uptime_s, current, voltage = float(line[0]), int(line[1]), int(line[2])
        if current == 0 or voltage == 0 or uptime_s <= last_s:
            continue
        readings.append(
            Reading(uptime_s=uptime_s, current=current, volts=voltage * volt, charge_uah=whole(line[3]) or None)
        )
        last_s = uptime_s
    if len(readings) < 2:
        return Missing(
            reason=f"{len(readings)} readings of the battery's current; this device does not give it to this user"
        )
    return BatteryTrace(source="sysfs" if source == "sysfs" else "service", node=node, readings=tuple(readings))


class Phases(Record):
    """A trace cut into windows that are long enough to be independent; current is in the device's own unit."""

    renewed_s: float
    window_s: float
    load_current: tuple[float, ...]
    idle_current: tuple[float, ...]
    load_power: tuple[float, ...]
    """Current times volts."""
    idle_power: tuple[float, ...]


def cut(trace: BatteryTrace, load: LoadRun) -> Phases | Missing:
    """Windows of load and of idle, each phase without its first `SETTLE_S` seconds."""
    readings = trace.readings
    slept_s = max(b.uptime_s - a.uptime_s for a, b in pairwise(readings))
    if slept_s > MAX_GAP_S:
        return Missing(
            reason=f"{slept_s:.1f} s without a reading (at most {MAX_GAP_S:g} s): the device slept; "
            "keep its screen on (readiness: screen: on)"
        )
    renewals_s = [b.uptime_s for a, b in pairwise(readings) if (a.current, a.volts) != (b.current, b.volts)]
    if len(renewals_s) < 2:
        return Missing(reason="the battery's current and voltage stay the same from beginning to end: a dead reading")
    renewed_s = median(b - a for a, b in pairwise(renewals_s))
    window_s = max(MIN_WINDOW_S, 2 * renewed_s)
    under_load, idle = _halves(readings, load, window_s)
    # A gauge that averages over time makes neighbours alike; longer windows until they are not.
    while _alike(under_load) and len(under_load) >= 2 * MIN_LOAD_WINDOWS and len(idle) >= 2 * MIN_IDLE_WINDOWS:
        window_s *= 2
        under_load, idle = _halves(readings, load, window_s)
    if len(under_load) < MIN_LOAD_WINDOWS or len(idle) < MIN_IDLE_WINDOWS:
        return Missing(
            reason=f"the battery's reading is renewed about every {renewed_s:.1f} s, which makes {len(under_load)} "
            f"windows of load and {len(idle)} of idle; {MIN_LOAD_WINDOWS} and {MIN_IDLE_WINDOWS} are needed"
        )
    return Phases(
        renewed_s=renewed_s,
        window_s=window_s,
        load_current=tuple(fmean(r.current for r in window) for window in under_load),
        idle_current=tuple(fmean(r.current for r in window) for window in idle),
        load_power=tuple(fmean(r.current * r.volts for r in window) for window in under_load),
        idle_power=tuple(fmean(r.current * r.volts for r in window) for window in idle),
    )


def _halves(readings: Sequence[Reading], load: LoadRun, window_s: float) -> tuple[list[Window], list[Window]]:
    """Windows under load, and idle before and after it."""
    spans = (
        (load.start_s, load.end_s),
        (readings[0].uptime_s, load.start_s),
        (load.end_s, readings[-1].uptime_s),
    )
    under_load, before, after = (_windows(readings, start + SETTLE_S, end, window_s) for start, end in spans)
    return under_load, before + after


def _alike(windows: Sequence[Window]) -> bool:
    """Whether the correlation of neighbours is above `MAX_CORRELATION`."""
    values = np.array([fmean(r.current for r in window) for window in windows])
    values -= values.mean()
    spread = float(values @ values)
    return spread > 0 and float(values[1:] @ values[:-1]) / spread > MAX_CORRELATION


def _windows(readings: Sequence[Reading], start_s: float, end_s: float, window_s: float) -> list[Window]:
    """The readings of each whole window between two times; a window in which none fell is left out."""
    count = max(0, int((end_s - start_s) / window_s))
    windows: list[Window] = [[] for _ in range(count)]
    for reading in readings:
        index = int((reading.uptime_s - start_s) // window_s)
        if 0 <= index < count:
            windows[index].append(reading)
    return [window for window in windows if window]
