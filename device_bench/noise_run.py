"""Finds a device's noise floor out: comparisons of a file with itself."""

from __future__ import annotations

from pathlib import Path

from device_bench.device import Missing, Observer
from device_bench.errors import UsageError
from device_bench.interleave import compare
from device_bench.noise import floor_for, floor_of
from device_bench.records import BenchSpec, DeviceInfo, NoiseFloor, Record, RuntimeInfo, Verdict

COMPARISONS = 4
"""Three processes each give the ten that a floor needs, and two more."""
PROCESSES = (2, 3, 5, 10, 20)
"""The comparisons that a floor is told for."""


class DeviceNoise(Record):
    """What can be seen on a device under a spec, by how many processes, and what these comparisons showed."""

    device: DeviceInfo
    runtime: RuntimeInfo
    spec: BenchSpec
    model_ms: float
    """Median latency of the file that was compared with itself."""
    log_ratios: tuple[tuple[float, ...], ...]
    """Of the file's second copy over the first: each process that counted of each comparison made now."""
    verdicts: tuple[Verdict, ...]
    """What each of them said of the file against itself."""
    floors: tuple[NoiseFloor, ...]
    """From these and from earlier comparisons."""
    rejections: tuple[str, ...]
    """Of the comparison that ended it early, none of whose processes counted."""
    missing: dict[str, str]


def noise_floor(
    path: str | Path,
    device: str = "host",
    spec: BenchSpec | None = None,
    comparisons: int = COMPARISONS,
    *,
    observer: Observer | None = None,
) -> DeviceNoise:
    """Compare a file with itself, and say what difference can be seen on the device under the spec.

    Args:
        comparisons: how many, each of `spec.processes` processes or more.
        observer: told what goes on meanwhile.

    Raises:
        UsageError: no comparisons, or a device, file or spec that cannot work; else as for `compare`.
    """
    if comparisons < 1:
        raise UsageError(f"{comparisons} comparisons of a file with itself show nothing; ask for one or more")
    spec = spec or BenchSpec(processes=3)
    results = []
    for _ in range(comparisons):
        results.append(compare([path, path], device, spec, observer=observer))
        if not results[-1].baseline_log_ratios:
            break
    last = results[-1].measurements[0]
    found = []
    for processes in PROCESSES:
        known = floor_for(last, processes)
        # A memory that could not be written has not even these comparisons.
        found.append(floor_of(results, processes) if isinstance(known, Missing) else known)
    unknown = [known.reason for known in found if isinstance(known, Missing)]
    return DeviceNoise(
        device=last.device,
        runtime=last.runtime,
        spec=spec,
        model_ms=last.median_ms,
        log_ratios=tuple(result.baseline_log_ratios for result in results),
        verdicts=tuple(result.comparisons[0].verdict for result in results),
        floors=tuple(known for known in found if not isinstance(known, Missing)),
        rejections=() if results[-1].baseline_log_ratios else last.rejections,
        missing={"floors": unknown[0]} if unknown else {},
    )
