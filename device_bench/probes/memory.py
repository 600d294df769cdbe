"""Memory of a process from the kernel's text about it, `/proc/PID/status`; reading it costs the timed loop nothing.

An Android app's is told by `dumpsys meminfo`, which walks its whole address space and holds it up meanwhile: for a
run of its own only.
"""

from __future__ import annotations

import re

from device_bench.device import Missing
from device_bench.records import MemoryUse

METHOD_PSS = "TOTAL PSS of dumpsys meminfo: what the app used at that moment, not its peak; shared pages by share"
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


def app_memory(meminfo: str) -> MemoryUse | Missing:
    """Memory of an app from `dumpsys meminfo PID` (kilobytes): the summary of Android 7 on, else the table's total."""
    match = re.search(r"^\s*TOTAL PSS:\s+([\d,]{1,15})\b", meminfo, re.MULTILINE) or re.search(
        r"^\s*TOTAL:?\s+([\d,]{1,15})\b", meminfo, re.MULTILINE
    )
    digits = match.group(1).replace(",", "") if match else ""
    if not digits or int(digits) == 0:
        return Missing(reason="dumpsys meminfo gives no total: the app is not running, or this user may not ask")
    return MemoryUse(peak_rss_mb=int(digits) / 1024, model_mb=None, method=METHOD_PSS)
