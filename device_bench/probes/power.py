"""Power of a Linux machine's CPU packages by RAPL, the energy counters that Intel and AMD processors keep.

The kernel shows them as /sys/class/powercap/intel-rapl:N (also on AMD): `energy_uj` rises and wraps around after
`max_energy_range_uj`; since 5.10 only root may read it. They count the whole package, other programs included, which is
why idle is measured before and after and taken off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from device_bench import stats
from device_bench.device import Missing
from device_bench.records import PowerUse

SAMPLE_S = 0.1
WINDOW_S = 1.0
METHOD = "RAPL, CPU packages, idle before and after taken off"

Trace = list[tuple[float, int]]
"""(time.monotonic() in seconds, microjoules since the first sample)."""


class EnergyCounters:
    """The packages' counters as one that never wraps.

    Args:
        sysfs: root of the tree, /sys on a live machine.
    """

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        # intel-rapl:0:0 is a part of the package intel-rapl:0, and "psys" the whole platform: they would count twice.
        zones = sorted(sysfs.glob("class/powercap/intel-rapl:*"))
        packages = [z for z in zones if z.name.count(":") == 1 and _text(z / "name").startswith("package")]
        self._files = [zone / "energy_uj" for zone in packages]
        self._ranges = [read_int(zone / "max_energy_range_uj") or 0 for zone in packages]
        self._last = [read_int(file) for file in self._files]
        self._total_uj = 0

    def unavailable(self) -> str | None:
        """Why the counters cannot be used; None where they can."""
        if not self._files:
            return "no RAPL counters in /sys/class/powercap (usual in a virtual machine)"
        if None in self._last:
            return "RAPL counters are not readable: energy_uj is for root alone since Linux 5.10"
        return None

    def total_uj(self) -> int:
        """Energy since this object was made, all packages together."""
        for i, file in enumerate(self._files):
            now, last = read_int(file), self._last[i]
            if now is None or last is None:
                continue
            self._total_uj += now - last if now >= last else now - last + self._ranges[i]
            self._last[i] = now
        return self._total_uj


class EnergyWatch:
    """Samples the counters in a thread from entry to exit."""

    def __init__(self, counters: EnergyCounters) -> None:
        self.trace: Trace = []
        self._counters = counters
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="energy", daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._sampler.join()

    def _sample(self) -> None:
        while True:
            self.trace.append((time.monotonic(), self._counters.total_uj()))
            if self._stop.wait(SAMPLE_S):
                return


def power_use(trace: Trace, load_s: tuple[float, float], runs: int) -> PowerUse | Missing:
    """Power during the load and outside it, and the energy of one of the load's runs.

    The interval comes from the spread over windows of a second.

    Args:
        trace: samples from before the load until after it.
        load_s: start and end of the load, on the trace's clock.
        runs: inferences between them.
    """
    start_s, end_s = load_s
    load_mw = _windows_mw([sample for sample in trace if start_s <= sample[0] <= end_s])
    idle_mw = _windows_mw([sample for sample in trace if sample[0] < start_s])
    idle_mw += _windows_mw([sample for sample in trace if sample[0] > end_s])
    if len(load_mw) < 2 or len(idle_mw) < 2:
        return Missing(reason=f"{len(load_mw)} windows of power under load and {len(idle_mw)} idle; two of each needed")
    return from_windows(load_mw, idle_mw, (end_s - start_s) / runs, METHOD)


def from_windows(load_mw: Sequence[float], idle_mw: Sequence[float], s_per_run: float, method: str) -> PowerUse:
    """Power and energy of one inference from the mean power of windows of time, two or more of each kind.

    energy per inference = (P_load - P_idle) * T / N; the windows must be long enough to be independent, since the
    interval comes from their spread.

    Args:
        s_per_run: wall time of one inference, T / N.
    """
    low_mw, high_mw = stats.difference_ci(load_mw, idle_mw)
    mean_mw, mean_idle_mw = float(np.mean(load_mw)), float(np.mean(idle_mw))
    return PowerUse(
        mean_mw=mean_mw,
        idle_mw=mean_idle_mw,
        energy_per_inference_mj=(mean_mw - mean_idle_mw) * s_per_run,
        ci95=(low_mw * s_per_run, high_mw * s_per_run),
        method=method,
    )


def _windows_mw(trace: Trace) -> list[float]:
    """Mean power of each whole window of `WINDOW_S` seconds."""
    windows = []
    first = 0
    for i in range(len(trace)):
        elapsed_s = trace[i][0] - trace[first][0]
        if elapsed_s >= WINDOW_S:
            windows.append((trace[i][1] - trace[first][1]) / elapsed_s / 1000)
            first = i
    return windows


def read_int(path: Path) -> int | None:
    """The whole number in a sysfs file; None where it cannot be read or is something else."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
