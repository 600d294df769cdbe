"""Memory of a process from the kernel's text about it, `/proc/PID/status`; reading it costs the timed loop nothing."""

from __future__ import annotations

import re

from device_bench.device import Missing
from device_bench.records import MemoryUse

METHOD = "VmHWM after the timed loop; model_mb: less VmRSS before the model was loaded"


def status_mb(status: str, key: str) -> float | None:
    """A line such as `VmHWM:     12345 kB` in MB (2**20 bytes); None where it is not there."""
    match = re.search(rf"^{re.escape(key)}:\s+(\d+) kB\s*$", status, re.MULTILINE)
    return int(match.group(1)) / 1024 if match else None


def memory_use(before: str | None, after: str | None) -> MemoryUse | Missing:
    """Peak memory from the status texts before the model was loaded and after it ran."""
    if before is None or after is None:
        return Missing(reason="this system has no /proc")
    runtime_mb, peak_mb = status_mb(before, "VmRSS"), status_mb(after, "VmHWM")
    if runtime_mb is None or peak_mb is None:
        return Missing(reason="/proc/self/status has no VmRSS or no VmHWM here")
    return MemoryUse(peak_rss_mb=peak_mb, model_mb=max(0.0, peak_mb - runtime_mb), method=METHOD)
