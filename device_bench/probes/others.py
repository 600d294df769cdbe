"""What other programs did with the CPUs while a model was timed, from the kernel's counters before and after.

A busy neighbour takes cache, memory bandwidth, clock and turns of the CPU from a model that is timed: its figure is
that of the two together. The counters are read directly before and directly after the timed loop, never in between.

Two things are told apart. A neighbour on a CPU of its own costs what the hardware shares: on the virtual machine that
this was tried on typically 0.3%, but up to a quarter where it copied memory. One that takes turns on our CPU makes
inferences longer by the share of the time that we waited for it: 5% of waiting moved the median of a network of 7 ms by
7%, and the mean of one of 0.6 ms by 5%, though it was only 0.05 CPUs of work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from device_bench.device import CpuShares, Missing
from device_bench.probes.state import TICK_S
from device_bench.records import Readiness, Record

MAX_WAITED = 0.02
"""Of the time, by all threads together; with it the latency is off by as much."""
MAX_STOLEN = 0.02
MIN_LOOP_S = 0.2
"""Below, a tick of the kernel's clock is a large share of the loop, and nothing is said."""
ROUNDING_S = 2 * TICK_S
"""What the kernel charges to the wrong side: a tick at either end."""

Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class CpuTimes(Record):
    """One reading by the runner, where it runs."""

    stat: str | None
    """The line of /proc/stat about all CPUs: ticks that they together spent on what (man 5 proc_stat)."""
    own_s: Seconds
    """CPU time of the runner itself, all its threads together."""
    waited_s: Seconds | None
    """Time that its threads together were ready to run and had no CPU; None where the kernel does not count it."""


def cpu_shares(before: CpuTimes, after: CpuTimes, wall_s: float) -> CpuShares | Missing:
    """Who had the CPUs in the `wall_s` seconds between two readings."""
    first, last = _ticks(before.stat), _ticks(after.stat)
    if first is None or last is None:
        return Missing(reason="/proc/stat cannot be read here: load of other programs is not noticed")
    spent_s = [max(0, b - a) * TICK_S for a, b in zip(first, last, strict=True)]
    busy_s = sum(spent_s[:3] + spent_s[5:7])  # all but idle, iowait, steal and the guests' (which are in user)
    waited = None
    if before.waited_s is not None and after.waited_s is not None:
        waited = max(0.0, after.waited_s - before.waited_s)
    return CpuShares(
        wall_s=wall_s, others_s=max(0.0, busy_s - (after.own_s - before.own_s)), stolen_s=spent_s[7], waited_s=waited
    )


def rejections(shares: CpuShares | None, readiness: Readiness) -> list[str]:
    """Why figures that were taken meanwhile must not be believed; nothing where any load is allowed."""
    limit = readiness.max_others_cpus
    if shares is None or limit is None or shares.wall_s < MIN_LOOP_S:
        return []
    return list(_found(shares, limit))


def _found(shares: CpuShares, limit: float) -> Iterator[str]:
    wall_s = shares.wall_s
    if shares.others_s - ROUNDING_S > limit * wall_s:
        cpus = shares.others_s / wall_s
        yield f"busy: other programs used {cpus:.2f} CPUs while it was timed (at most {limit:.2f})"
    elif shares.waited_s is not None and shares.waited_s > MAX_WAITED * wall_s:
        yield f"busy: it waited for a CPU {shares.waited_s / wall_s:.0%} of the time (at most {MAX_WAITED:.0%})"
    if shares.stolen_s - TICK_S > MAX_STOLEN * wall_s:
        yield f"stolen: the hypervisor took {shares.stolen_s / wall_s:.0%} of the time (at most {MAX_STOLEN:.0%})"


def _ticks(stat: str | None) -> list[int] | None:
    """user, nice, system, idle, iowait, irq, softirq, steal."""
    match = re.match(r"cpu((?: +\d{1,18}){8})", stat or "")
    return [int(ticks) for ticks in match.group(1).split()] if match else None
