"""How files compared with themselves on a device, remembered: a line of JSON for each sitting, a file for each device.

Every comparison times two copies of its baseline, and so adds a line. A line holds no path, name or serial number.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from device_bench.device import Elapsed
from device_bench.records import Accelerator, BenchSpec, Delegate, PositiveInt, Record, RuntimeInfo
from device_bench.state_folder import device_file, write_whole

SITTINGS_OF_A_MODEL = 50
"""Kept of one model under one timing, so that a search's hundreds do not push out what is known of others."""
SITTINGS = 500
"""Kept of a device, about 250 kB."""

LogRatio = Annotated[float, Field(allow_inf_nan=False)]


class Timing(Record):
    """The part of a spec that noise depends on: what a process runs on, and for how long it looks.

    The number of processes is not in it: what one process's ratio is off by tells what any number of them is. Nor are
    the warm-up, over before the clock starts, and the state that the device is brought to first.
    """

    timed_runs: PositiveInt
    min_seconds: float
    threads: PositiveInt
    accelerator: Accelerator
    delegate: Delegate | None
    affinity: tuple[int, ...] | None

    @classmethod
    def of(cls, spec: BenchSpec) -> Self:
        return cls.model_validate({name: getattr(spec, name) for name in cls.model_fields})


class SelfComparison(Record):
    """One sitting: by how much a file's second copy was slower than its first, in each process that counted."""

    version: Literal[1] = 1
    device_id: str
    runtime: RuntimeInfo
    timing: Timing
    model_sha256: str
    median_ms: Elapsed
    """Of the file, since small networks are noisier."""
    log_ratios: Annotated[tuple[LogRatio, ...], Field(min_length=1)]
    """Natural logarithm of the copy's latency over the first one's: the median over rounds, of each process."""
    started_at: str


def default_path(device_id: str) -> Path:
    """Where a device's self-comparisons are kept."""
    return device_file(device_id, ".noise.jsonl")


def read(path: Path) -> tuple[list[SelfComparison], int]:
    """The lines of a file, oldest first, and how many others could not be read; none where there is no file.

    Raises:
        OSError: there is one, and it could not be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return [], 0
    sittings = []
    for line in lines:
        try:
            sittings.append(SelfComparison.model_validate_json(line))
        except ValidationError:
            continue
    return sittings, len(lines) - len(sittings)


def append(path: Path, sitting: SelfComparison) -> int:
    """Add a line, and let go of the oldest beyond the limits and of what could not be read; returns how many of these.

    Raises:
        OSError: the file cannot be read or written; it is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # others measure too, and each writes the whole file
        sittings, damaged = read(path)
        kept = _within_limits([*sittings, sitting])
        write_whole(path, "".join(f"{one.model_dump_json()}\n" for one in kept))
    finally:
        os.close(folder)
    return damaged


def _within_limits(sittings: Sequence[SelfComparison]) -> list[SelfComparison]:
    """The newest of each model under each timing, and the newest of all."""
    count: Counter[tuple[Timing, str]] = Counter()
    kept = []
    for sitting in reversed(sittings):
        key = (sitting.timing, sitting.model_sha256)
        count[key] += 1
        if count[key] <= SITTINGS_OF_A_MODEL:
            kept.append(sitting)
    return kept[:SITTINGS][::-1]
