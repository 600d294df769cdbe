"""Temperature, clock and throttling of a Linux machine, from sysfs.

Zones are in millidegrees (Documentation/ABI/testing/sysfs-class-thermal), clocks in kHz (cpufreq). Whether the CPU
was throttled is known only where the kernel counts it (x86: cpu*/thermal_throttle), and is None elsewhere.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from device_bench.device import Missing
from device_bench.records import ThermalState

SAMPLE_S = 0.5
UNAVAILABLE = "no readable thermal zone, cpufreq or throttle count in sysfs (usual in a virtual machine)"


class ThermalWatch:
    """Watches from entry to exit: temperatures at both ends, clocks all along, throttle events between.

    Args:
        sysfs: root of the tree, /sys on a live machine.
    """

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._zones = sorted(sysfs.glob("class/thermal/thermal_zone*/temp"))
        cpus = "devices/system/cpu/cpu[0-9]*"
        self._clocks = sorted(sysfs.glob(f"{cpus}/cpufreq/scaling_cur_freq"))
        self._throttle_counts = sorted(sysfs.glob(f"{cpus}/thermal_throttle/*_throttle_count"))
        self._clocks_khz: list[int] = []
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="thermal", daemon=True)

    def __enter__(self) -> Self:
        self._start_mc = _hottest(self._zones)
        self._throttles = _total(self._throttle_counts)
        if self._clocks:  # without clocks there is nothing to sample, and no thread to disturb the timing
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._sampler.ident is not None:
            self._sampler.join()
        self._end_mc = _hottest(self._zones)
        after = _total(self._throttle_counts)
        self._throttled = None if after is None or self._throttles is None else after > self._throttles

    def state(self) -> ThermalState | Missing:
        """What was seen; call it after exit."""
        if self._start_mc is None and self._end_mc is None and not self._clocks_khz and self._throttled is None:
            return Missing(reason=UNAVAILABLE)
        return ThermalState(
            start_c=None if self._start_mc is None else self._start_mc / 1000,
            end_c=None if self._end_mc is None else self._end_mc / 1000,
            freq_mhz_min=min(self._clocks_khz) / 1000 if self._clocks_khz else None,
            freq_mhz_max=max(self._clocks_khz) / 1000 if self._clocks_khz else None,
            throttled=self._throttled,
        )

    def _sample(self) -> None:
        while True:
            self._clocks_khz += [value for value in map(read_int, self._clocks) if value is not None]
            if self._stop.wait(SAMPLE_S):
                return


def read_int(path: Path) -> int | None:
    """The whole number in a sysfs file; None where it cannot be read or is something else."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _hottest(zones: list[Path]) -> int | None:
    return max((value for value in map(read_int, zones) if value is not None), default=None)


def _total(counts: list[Path]) -> int | None:
    values = [value for value in map(read_int, counts) if value is not None]
    return sum(values) if values else None
