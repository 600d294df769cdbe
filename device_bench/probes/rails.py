"""Power of a chip's supply rails, which Pixel 6 and later phones meter by themselves ("ODPM"); valid while charging.

The power-stats service prints each rail's energy since boot in mWs, which are mJ:

    ============= PowerStats HAL 2.0 energy meter ==============
                  Channel    Cumulative Energy
      [S7M_VDD_TPU]:TPU          1234.00 mWs

(hardware/interfaces/power/stats and Pixel's PowerStats::dumpEnergyMeter in AOSP.) Counted are the rails that computing
draws from: CPU, GPU, TPU, the fabric between them and memory. Display, modem, radio, camera, audio and the low-dropout
regulators behind other rails are left out: they are no part of an inference, and the last would count twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from device_bench.device import Missing
from device_bench.probes.battery import SETTLE_S, LoadRun
from device_bench.probes.power import from_windows
from device_bench.records import PowerUse, Record

SERVICE = "android.hardware.power.stats.IPowerStats/default"
HEADER = "PowerStats HAL 2.0 energy meter"
INTERVAL_S = 3
"""The service is read all along, idle included, so that what a reading costs falls out of the difference."""
MIN_LOAD_WINDOWS, MIN_IDLE_WINDOWS = 5, 3
COMPUTING = re.compile(
    r"\[\w*_(VDD_)?(CPU\w*|GPU|G3D\w*|TPU\w*|NPU|MIF|INT|INF|GMC|VDDQ_MEM|VDD2[LH]\w*)\]"
    r"|\]:\W*(CPU|GPU|TPU|NPU|DDR|Memory|System Fabric)",
    re.IGNORECASE,
)

# Arguments: seconds between readings, seconds after which it ends by itself.
SAMPLER = f"""
up() {{ read -r now rest </proc/uptime; }}
up; end=$((${{now%%.*}} + $2))
while up; [ "${{now%%.*}}" -lt "$end" ]; do
  echo "uptime $now"
  dumpsys {SERVICE} 2>/dev/null | grep ' mWs'
  sleep "$1"
done
"""


class RailReading(Record):
    uptime_s: float
    rails_mj: dict[str, float]


def sampler_argv(longest_s: float) -> list[str]:
    return ["sh", "-c", SAMPLER, "sh", str(INTERVAL_S), str(int(longest_s))]


def parse_rails(text: str) -> dict[str, float]:
    """Energy since boot of each computing rail in mJ, from the rows of the service's text; empty where it has none."""
    rows = re.findall(r"^ *(\[\w{1,60}\]:[^\n]{0,60}?) +(\d{1,15}\.\d{1,4}) mWs\b", text, re.MULTILINE)
    return {name: float(energy) for name, energy in rows if COMPUTING.search(name)}


def parse_trace(text: str) -> list[RailReading]:
    parts = re.split(r"^uptime (\d{1,12}\.\d{1,3})\r?$", text, flags=re.MULTILINE)
    readings = [
        RailReading(uptime_s=float(uptime), rails_mj=parse_rails(rows))
        for uptime, rows in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return [reading for reading in readings if reading.rails_mj]


def rails_power(readings: list[RailReading], load: LoadRun) -> PowerUse | Missing:
    """Power of the computing rails under load less idle; each stretch between two readings is one window."""
    under_load, idle = [], []
    for first, last in pairwise(readings):
        power_mw = _power_mw(first, last)
        if power_mw is None:
            return Missing(reason="a power rail's counter went back or its list of rails changed: read again")
        if load.start_s + SETTLE_S <= first.uptime_s and last.uptime_s <= load.end_s:
            under_load.append(power_mw)
        elif last.uptime_s <= load.start_s or first.uptime_s >= load.end_s:
            idle.append(power_mw)
    if len(under_load) < MIN_LOAD_WINDOWS or len(idle) < MIN_IDLE_WINDOWS:
        return Missing(
            reason=f"{len(under_load)} readings of the power rails under load and {len(idle)} idle; "
            f"{MIN_LOAD_WINDOWS} and {MIN_IDLE_WINDOWS} are needed"
        )
    if not any(under_load):
        return Missing(reason="the power rails' counters stand still")
    rails = ", ".join(sorted(readings[0].rails_mj))
    method = f"power rails {rails}; idle before and after taken off; display, radio and the rest not included"
    return from_windows(under_load, idle, load.s_per_run, method)


def _power_mw(first: RailReading, last: RailReading) -> float | None:
    if first.rails_mj.keys() != last.rails_mj.keys() or last.uptime_s <= first.uptime_s:
        return None
    spent_mj = _spent(first.rails_mj, last.rails_mj)
    return None if min(spent_mj) < 0 else sum(spent_mj) / (last.uptime_s - first.uptime_s)


def _spent(first_mj: Mapping[str, float], last_mj: Mapping[str, float]) -> list[float]:
    return [last_mj[name] - energy_mj for name, energy_mj in first_mj.items()]
