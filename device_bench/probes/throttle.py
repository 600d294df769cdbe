"""Heat, clocks and throttling between two readings of a device's state, with nothing sampled between them.

What counts as throttled, strongest first:

1. a processor's own count of throttle events rose;
2. the kernel holds a CPU's clock down because of heat (a CPU cooling device is above state 0), or a clock's cap
   (`scaling_max_freq`) is lower after than before;
3. Android's thermal status is MODERATE or worse. LIGHT alone is none: PowerManager's documentation calls it throttling
   that is not felt, and Samsung's phones report it from 38 degrees of the skin on at full clocks;
4. a CPU that had work nearly all the time never came near its cap although its governor follows the load.

Throttled is False only where clocks were seen at both ends (or the processor counts) and nothing speaks for it: a
thermal status of 0 can hide throttling. What the hardware does behind the kernel's back (Qualcomm's LMh, say) is seen
by none of these: `time_in_state` tells what was asked of it.
"""

from __future__ import annotations

from device_bench.device import Missing
from device_bench.probes.state import ClockPolicy, DeviceState
from device_bench.records import ThermalState

UNAVAILABLE = "the device shows no temperature and no clock to this user"
MODERATE = 2
STATUS_NAMES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
LOAD_GOVERNORS = frozenset({"performance", "schedutil", "walt", "sched_pixel", "interactive", "ondemand"})
BUSY_SHARE = 0.9
"""A CPU this busy is at its limit, and a governor that follows the load gives it the highest clock it may."""
NEAR_CAP = 0.95
MIN_SHARE = 0.01
"""Of the time between the readings; a clock that stood for less is a passing one."""
WORK_SHARE = 0.2
"""A cluster with less of the work than this ran other programs than ours."""
MIN_INTERVAL_S = 1.0
"""Below, counters in steps of 10 ms and a governor that is still ramping up say nothing."""


def thermal_between(before: DeviceState, after: DeviceState) -> ThermalState | Missing:
    """Temperature at both ends, clocks of the CPUs that did the work, and whether they were held back.

    The temperature is that of the skin, else of the battery, else of the hottest sensor that both readings have.
    """
    start_c, end_c = _same_sensor(before, after)
    clocks_khz = _clocks_khz(before, after)
    throttled = was_throttled(before, after)
    if start_c is None and not clocks_khz and throttled is None:
        return Missing(reason=UNAVAILABLE)
    return ThermalState(
        start_c=start_c,
        end_c=end_c,
        freq_mhz_min=min(clocks_khz) / 1000 if clocks_khz else None,
        freq_mhz_max=max(clocks_khz) / 1000 if clocks_khz else None,
        throttled=throttled,
    )


def was_throttled(before: DeviceState, after: DeviceState) -> bool | None:
    if throttle_evidence(before, after):
        return True
    if after.throttle_count is not None and before.throttle_count is not None:
        return False
    caps = [(cpu, clock, after.clocks[cpu]) for cpu, clock in before.clocks.items() if cpu in after.clocks]
    known = [cpu for cpu, first, last in caps if first.cap_khz is not None and last.cap_khz is not None]
    if not known:
        return None
    free = all(after.clocks[cpu].cap_khz == after.clocks[cpu].top_khz for cpu in known)
    # A cap below the top that nothing explains may be the maker's, a power saver's, or old heat: only a word from
    # the thermal side tells which.
    return False if free or after.thermal_status is not None or after.cpu_cooling is not None else None


def mean_clock_mhz(before: DeviceState, after: DeviceState) -> float | None:
    """Mean clock of the cluster that did most of the work between two readings.

    Without residencies it is the highest clock of the second reading.
    """
    by_work = sorted(_working(before, after), key=lambda name: _work_s(before, after, name))
    shares = _shares(before.policies[by_work[-1]], after.policies[by_work[-1]]) if by_work else {}
    if shares:
        return sum(khz * share for khz, share in shares.items()) / 1000
    now_khz = max((clock.now_khz for clock in after.clocks.values() if clock.now_khz), default=None)
    return None if now_khz is None else now_khz / 1000


def throttle_evidence(before: DeviceState, after: DeviceState) -> list[str]:
    """What speaks for throttling between the two readings, each in a sentence; empty where nothing does."""
    found = []
    if before.throttle_count is not None and (after.throttle_count or 0) > before.throttle_count:
        found.append(f"the processor counted {(after.throttle_count or 0) - before.throttle_count} throttle events")
    for name, state in (("before", before), ("after", after)):
        if state.cpu_cooling:
            found.append(f"the kernel cooled the CPU (state {state.cpu_cooling}) {name} the run")
        if state.thermal_status is not None and state.thermal_status >= MODERATE:
            label = STATUS_NAMES[min(state.thermal_status, len(STATUS_NAMES) - 1)]
            found.append(f"thermal status {state.thermal_status} ({label}) {name} the run")
    for cpu, clock in before.clocks.items():
        last_khz = after.clocks[cpu].cap_khz if cpu in after.clocks else None
        if clock.cap_khz is not None and last_khz is not None and last_khz < clock.cap_khz:
            found.append(f"the cap of CPU {cpu}'s clock fell from {clock.cap_khz / 1e3:g} to {last_khz / 1e3:g} MHz")
    return found + _held_back(before, after)


def _same_sensor(before: DeviceState, after: DeviceState) -> tuple[float | None, float | None]:
    for first, last in ((before.skin_c, after.skin_c), (before.battery_c, after.battery_c)):
        if first is not None and last is not None:
            return first, last
    common = before.temperatures_c.keys() & after.temperatures_c.keys()
    if not common:
        return None, None
    return max(before.temperatures_c[name] for name in common), max(after.temperatures_c[name] for name in common)


def _clocks_khz(before: DeviceState, after: DeviceState) -> list[int]:
    """Clocks that the working clusters stood at; without residencies those of the two readings."""
    seen = [
        khz
        for name in _working(before, after)
        for khz, share in _shares(before.policies[name], after.policies[name]).items()
        if share >= MIN_SHARE
    ]
    both = [*before.clocks.values(), *after.clocks.values()]
    return seen or [clock.now_khz for clock in both if clock.now_khz]


def _working(before: DeviceState, after: DeviceState) -> list[str]:
    """Policies whose CPUs did at least `WORK_SHARE` of the work; all of them where work is not told."""
    common = [name for name in before.policies if name in after.policies]
    busy_s = {name: _work_s(before, after, name) for name in common}
    total_s = sum(busy_s.values())
    return [name for name in common if busy_s[name] >= WORK_SHARE * total_s]


def _work_s(before: DeviceState, after: DeviceState, policy: str) -> float:
    return sum(_busy_s(before, after, cpu) for cpu in after.policies[policy].cpus)


def _busy_s(before: DeviceState, after: DeviceState, cpu: int) -> float:
    return max(0.0, after.busy_s.get(cpu, 0.0) - before.busy_s.get(cpu, 0.0))


def _shares(before: ClockPolicy, after: ClockPolicy) -> dict[int, float]:
    """Share of the time between the readings at each clock in kHz; empty where counters went back or stood still."""
    spent_s = {khz: s - before.seconds_at_khz.get(khz, 0.0) for khz, s in after.seconds_at_khz.items()}
    total_s = sum(spent_s.values())
    if total_s <= 0 or min(spent_s.values()) < 0:
        return {}
    return {khz: s / total_s for khz, s in spent_s.items()}


def _held_back(before: DeviceState, after: DeviceState) -> list[str]:
    """CPUs that were busy nearly all the time and whose clock stayed away from its cap."""
    if before.uptime_s is None or after.uptime_s is None or after.uptime_s - before.uptime_s < MIN_INTERVAL_S:
        return []
    elapsed_s = after.uptime_s - before.uptime_s
    found = []
    for name in _working(before, after):
        policy = after.policies[name]
        caps_khz = [after.clocks[cpu].cap_khz for cpu in policy.cpus if cpu in after.clocks]
        cap_khz = max((cap for cap in caps_khz if cap is not None), default=None)
        full = any(_busy_s(before, after, cpu) >= BUSY_SHARE * elapsed_s for cpu in policy.cpus)
        seen_khz = [khz for khz, share in _shares(before.policies[name], policy).items() if share >= MIN_SHARE]
        if not full or not seen_khz or cap_khz is None or policy.governor not in LOAD_GOVERNORS:
            continue
        if max(seen_khz) < NEAR_CAP * cap_khz:
            highest = f"{max(seen_khz) / 1e3:g} of {cap_khz / 1e3:g} MHz"
            found.append(f"{name} was fully busy and reached only {highest}")
    return found
