"""A load that goes on for minutes: what a device did under it, window by window, and what its sensors said meanwhile.

This is no measurement of latency, so the device is watched beside it: a sampler of its own reads heat and clocks there
once a window (see `probes/heat.py`, which says what that costs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from pydantic import model_validator

from device_bench.device import Elapsed, Job, Missing
from device_bench.probes import heat
from device_bench.probes.heat import Heat
from device_bench.probes.power_pass import StartSampling
from device_bench.records import PositiveInt, Record

RUN_S = 300.0
"""What one run of several may take beyond its window."""
SLACK_S = 600.0
"""What loading a model, or a link that breaks, may take besides; the sampler ends by itself afterwards."""


class LoadWindow(Record):
    """A stretch of the load, on the clock of the device's uptime; in it nothing but inferences ran."""

    start_s: float
    end_s: float
    n: PositiveInt
    median_ms: Elapsed | None
    """Of one inference; None where the runner does not tell."""

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if not self.end_s > self.start_s:
            raise ValueError(f"a window from {self.start_s} to {self.end_s} s takes no time")
        return self


class LoadTrace(Record):
    """The windows of a load, in order; `interrupted` by Ctrl-C before its time was up."""

    windows: tuple[LoadWindow, ...]
    interrupted: bool
    method: str


class SustainedLoad(Record):
    trace: LoadTrace
    heat: Heat | Missing


def in_turns(run_window: Callable[[], LoadWindow], job: Job, method: str) -> LoadTrace:
    """The load as one run of a runner after another, with gaps between them; for runners that know no windows."""
    windows: list[LoadWindow] = []
    interrupted = False
    try:
        while not windows or windows[-1].end_s - windows[0].start_s < job.min_seconds:
            windows.append(run_window())
    except KeyboardInterrupt:
        interrupted = True
    return LoadTrace(windows=tuple(windows), interrupted=interrupted, method=method)


def watched(start: StartSampling, run_load: Callable[[], LoadTrace], job: Job, sysfs: str = "/sys") -> SustainedLoad:
    """Run a load with the sampler beside it, from before its start to its end.

    Args:
        start: starts a program on the device, detached.
        sysfs: root of the tree that heat and clocks are read from.

    Raises:
        DeviceBenchError: the link, or what `run_load` raises; the sampler is ended all the same.
    """
    assert job.window_s is not None
    sampling = start(heat.sampler_argv(job.window_s, job.min_seconds + SLACK_S, sysfs))
    try:
        trace = run_load()
    except BaseException:  # Ctrl-C included: nothing of ours may run on
        sampling.stop()
        raise
    return SustainedLoad(trace=trace, heat=heat.parse_heat(sampling.stop()))
