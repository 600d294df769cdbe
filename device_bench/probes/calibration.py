"""Unit and sign of a device's battery current, found from a step of the load and remembered.

The kernel's rule is microamperes, negative while discharging (Documentation/ABI/testing/sysfs-class-power); phones
also give milliamperes, and discharging as positive. A load raises consumption, which gives the sign. The fall of the
charge counter, always in microampere hours, gives the unit; where there is no such counter or it falls too coarsely,
the size does: a device under load draws between 0.05 and 10 A, and no number is that in both units.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from device_bench import stats
from device_bench.device import Missing
from device_bench.probes.battery import BatteryTrace, Phases
from device_bench.records import Record
from device_bench.state_folder import device_file, write_whole

LOAD_A = (0.05, 10.0)
MIN_CHARGE_STEPS = 4
TOLERANCE = 3.0
"""Factor between the charge that left by the counter and by the current that still tells one unit from the other."""
Unit = Literal["microamperes", "milliamperes"]
UNITS_A: dict[Unit, float] = {"microamperes": 1e-6, "milliamperes": 1e-3}


class Calibration(Record):
    version: Literal[1] = 1
    device_id: str
    source: str
    """Where the current is read, since sysfs and the service may differ."""
    sign: Literal[-1, 1]
    """Times the reading gives a positive current while discharging."""
    unit: Unit
    by: Literal["charge counter", "size"]

    @property
    def signed_unit_a(self) -> float:
        """Amperes of discharge that a reading of 1 stands for."""
        return self.sign * UNITS_A[self.unit]


def calibrate(trace: BatteryTrace, phases: Phases, device_id: str) -> Calibration | Missing:
    """Unit and sign from one measurement with idle, load and idle."""
    sign = _sign(phases)
    if isinstance(sign, Missing):
        return sign
    unit = _by_size(phases)
    charged = _by_charge(trace, unit)
    if isinstance(charged, Missing):
        return charged
    if unit is None:
        mean = sum(phases.load_current) / len(phases.load_current)
        return Missing(
            reason=f"the battery's current reads {mean:.0f} under load, which is between {LOAD_A[0]:g} and "
            f"{LOAD_A[1]:g} A neither in microamperes nor in milliamperes"
        )
    return Calibration(
        device_id=device_id,
        source=source_name(trace),
        sign=sign,
        unit=unit,
        by="charge counter" if charged else "size",
    )


def source_name(trace: BatteryTrace) -> str:
    return f"{trace.source} {trace.node}"


def reconcile(found: Calibration | Missing, path: Path, source: str) -> Calibration | Missing:
    """What holds: the remembered calibration if there is one and this measurement does not contradict it.

    A new one is remembered.

    Raises:
        OSError: it could not be read or written.
    """
    kept = load(path)
    if isinstance(kept, Missing):
        return kept
    if kept is None or kept.source != source:
        if isinstance(found, Calibration):
            save(found, path)
        return found
    if isinstance(found, Calibration) and found.signed_unit_a != kept.signed_unit_a:
        return Missing(
            reason=f"this load step says that the battery's current is in {_words(found)}, an earlier one said "
            f"{_words(kept)}; remove {path} to calibrate anew"
        )
    return kept


def default_path(device_id: str) -> Path:
    """Where a device's calibration is kept."""
    return device_file(device_id, ".json")


def load(path: Path) -> Calibration | Missing | None:
    """The calibration in a file; None where there is no file.

    Raises:
        OSError: there is one, and it could not be read.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        return Missing(reason=f"{path} holds no calibration; remove it to calibrate anew")


def save(calibration: Calibration, path: Path) -> None:
    """Write it so that a reader sees the old file or the new one, whole."""
    write_whole(path, json.dumps(calibration.model_dump(), indent=1))


def _sign(phases: Phases) -> Literal[-1, 1] | Missing:
    low, high = stats.difference_ci(phases.load_current, phases.idle_current)
    if low <= 0 <= high:
        return Missing(reason="the load does not show in the battery's current: too light, or the reading is no use")
    sign: Literal[-1, 1] = 1 if low > 0 else -1
    idle = sign * sum(phases.idle_current)
    if idle < 0:
        return Missing(
            reason="the load turns the battery's current around: charged while idle, or a reading of its own kind"
        )
    return sign


def _by_charge(trace: BatteryTrace, by_size: Unit | None) -> Unit | Missing | None:
    """The unit from the charge counter's fall over the trace; None where the counter is missing or too coarse.

    A counter in milliampere hours beside a current in milliamperes would pass for a pair in micro: so size must agree.
    """
    readings = [r for r in trace.readings if r.charge_uah is not None]
    falls = [i for i, (a, b) in enumerate(pairwise(readings), 1) if a.charge_uah != b.charge_uah]
    if len(falls) <= MIN_CHARGE_STEPS:
        return None
    # From one step of the counter to another, so that what it has not shown yet at the ends does not count.
    inside = readings[falls[0] : falls[-1] + 1]
    fallen_uah = (inside[0].charge_uah or 0) - (inside[-1].charge_uah or 0)
    by_current = sum(abs(a.current) * (b.uptime_s - a.uptime_s) for a, b in pairwise(inside)) / 3600
    for unit, unit_a in UNITS_A.items():
        ratio = fallen_uah / (by_current * unit_a * 1e6)
        if 1 / TOLERANCE < ratio < TOLERANCE and unit == by_size:
            return unit
    return Missing(
        reason=f"the charge counter fell by {fallen_uah} uAh while the battery's current adds up to {by_current:.0f} "
        "in its own unit: no unit fits both"
    )


def _by_size(phases: Phases) -> Unit | None:
    mean = abs(sum(phases.load_current)) / len(phases.load_current)
    return next((unit for unit, unit_a in UNITS_A.items() if LOAD_A[0] <= mean * unit_a <= LOAD_A[1]), None)


def _words(calibration: Calibration) -> str:
    direction = "positive" if calibration.sign > 0 else "negative"
    return f"{calibration.unit}, {direction} while discharging"
