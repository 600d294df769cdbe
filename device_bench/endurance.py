"""Sustained mode: minutes of uninterrupted inference for each model, since ranks at the first minute and later differ.

A phone is fast until it is warm. What an app that runs a network on every frame of a camera gets is the rate of the
last third, not that of the first seconds; which of two models is faster may depend on which of them heats less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from device_bench.assemble import assemble
from device_bench.bench import check
from device_bench.device import Device, Job, Missing, Observer
from device_bench.devices import open_device
from device_bench.errors import UsageError
from device_bench.judge import Subject, is_transient
from device_bench.load import LoadWindow, SustainedLoad
from device_bench.probes.heat import HeatReading
from device_bench.records import ArtifactInfo, BenchSpec, DeviceInfo, Measurement, Record, RuntimeInfo
from device_bench.sitting import Sitting, utc_now, with_retries

WINDOW_S = 10.0
MIN_WINDOWS, MAX_WINDOWS = 12, 500
MAX_MINUTES = 24 * 60.0
HANG_S = 300.0
"""Beyond the load itself; loading a model may take a slow device its time."""
LAST_SHARE = 1 / 3
"""Of the time: what is called sustained."""


class SustainedWindow(Record):
    """A stretch of the load; seconds since its beginning."""

    start_s: float
    end_s: float
    n: int
    fps: float
    """Inferences over the window's time."""
    median_ms: float | None
    temperature_c: float | None
    """At its end."""
    freq_mhz: float | None


class SustainedRun(Record):
    """What one model did in minutes of load on one device."""

    device: DeviceInfo
    runtime: RuntimeInfo
    artifact: ArtifactInfo
    spec: BenchSpec
    minutes: float
    """That were asked for."""
    method: str
    windows: tuple[SustainedWindow, ...]
    idle_s: float
    """Between the windows, when nothing ran."""
    sensor: str | None
    """Whose temperature it is."""
    start_c: float | None
    """Before the load."""
    cold_fps: float
    """Of the first window."""
    sustained_fps: float | None
    """Of the last third of the time."""
    drop: float | None
    """Share of the cold rate that is lost; below 0 where it rose."""
    throttled: bool | None
    rejections: tuple[str, ...]
    """Why the figures must not be believed, such as a wrong answer; that it throttled, or what its try met, is none."""
    missing: dict[str, str]
    started_at: str


def sustained(
    paths: Sequence[str | Path],
    device: str = "host",
    spec: BenchSpec | None = None,
    minutes: float = 10.0,
    on_result: Callable[[SustainedRun], None] | None = None,
    *,
    observer: Observer | None = None,
) -> list[SustainedRun]:
    """Keep a device busy with each model for some minutes; before each it is brought to the readiness temperature.

    All models are tried before the first load. Ctrl-C ends a load early: its windows so far go to `on_result`, and
    KeyboardInterrupt is raised.

    Args:
        on_result: called with each SustainedRun as soon as it is there.
        observer: told what goes on meanwhile.

    Raises:
        UsageError: a device, file, spec or time that cannot work.
        DeviceUnavailableError: the device is not there.
        RunnerError: the program on the device died, hung or printed garbage.
    """
    spec = spec or BenchSpec()
    if not 0 < minutes <= MAX_MINUTES:
        raise UsageError(f"{minutes:g} minutes of load: give more than 0 and at most {MAX_MINUTES:g}")
    results: list[SustainedRun] = []
    with open_device(device) as opened:
        opened.observer = observer or opened.observer
        subjects = [check(opened, Path(path), spec) for path in paths]
        tries = [_try(opened, subject, spec) for subject in subjects]
        for subject, tried in zip(subjects, tries, strict=True):
            started_at, load = with_retries(partial(_load, opened, subject, spec, minutes))
            if load.trace.windows:
                results.append(_assemble(tried, load, minutes, started_at))
                if on_result is not None:
                    on_result(results[-1])
            if load.trace.interrupted:
                raise KeyboardInterrupt
    return results


def window_length_s(minutes: float) -> float:
    """Ten seconds; shorter where there would be fewer than `MIN_WINDOWS`, longer above `MAX_WINDOWS`."""
    seconds = 60 * minutes
    return max(min(WINDOW_S, seconds / MIN_WINDOWS), seconds / MAX_WINDOWS)


def ranks(figures: Sequence[float | None]) -> list[int | None]:
    """The place of each figure, the largest first; None has none."""
    known = sorted((figure for figure in figures if figure is not None), reverse=True)
    return [None if figure is None else known.index(figure) + 1 for figure in figures]


def _try(device: Device, subject: Subject, spec: BenchSpec) -> Measurement:
    """One inference: does the model run there, by what, and is its answer right?"""
    device.observer.doing(f"{Path(subject.artifact.path).name}: one inference")
    any_state = spec.readiness.model_copy(update={"max_start_c": None, "max_others_cpus": None})
    with_retries(partial(device.prepare, any_state))
    job = Job.of(spec, (subject.job_model(),)).model_copy(update={"timed_runs": 1, "min_seconds": 0.0})
    result = with_retries(partial(device.run, job))
    sitting = Sitting(spec.model_copy(update={"processes": 1, "max_processes": 1, "precision": None}), (subject,))
    sitting.take(result, utc_now())
    return assemble(device.info(), sitting).model_copy(update={"spec": spec})


def _load(device: Device, subject: Subject, spec: BenchSpec, minutes: float) -> tuple[str, SustainedLoad]:
    name = Path(subject.artifact.path).name
    device.observer.doing(f"{name}: getting ready")
    device.prepare(spec.readiness)
    job = Job.of(spec, (subject.job_model(),)).model_copy(
        update={
            "timed_runs": 1,
            "min_seconds": 60 * minutes,
            "window_s": window_length_s(minutes),
            "timeout_s": 60 * minutes + HANG_S,
        }
    )
    device.observer.doing(f"{name}: {minutes:g} minutes of load")
    return utc_now(), device.sustain(job)


def _assemble(tried: Measurement, load: SustainedLoad, minutes: float, started_at: str) -> SustainedRun:
    trace = load.trace
    heat = None if isinstance(load.heat, Missing) else load.heat
    windows = _windows(trace.windows, heat.readings if heat else ())
    late = [window for window in windows if (window.start_s + window.end_s) / 2 > 60 * minutes * (1 - LAST_SHARE)]
    held = None if trace.interrupted or not late else _fps(late)
    why_no_heat = load.heat.reason if isinstance(load.heat, Missing) else "the device does not show it to this user"
    start_c = heat.readings[0].temperature_c if heat else None
    throttled = heat.throttled if heat else None
    found = {
        "temperature_c": windows[-1].temperature_c,
        "start_c": start_c,
        "freq_mhz": windows[-1].freq_mhz,
        "throttled": throttled,
    }
    missing = {name: why_no_heat for name, value in found.items() if value is None}
    if held is None:
        came_s = windows[-1].end_s
        reason = f"ended after {came_s:.3g} s of {60 * minutes:g} s"
        missing |= {"sustained_fps": reason, "drop": reason}
    if any(window.median_ms is None for window in windows):
        missing["median_ms"] = "the runner gives no median"
    return SustainedRun(
        device=tried.device,
        runtime=tried.runtime,
        artifact=tried.artifact,
        spec=tried.spec,
        minutes=minutes,
        method=trace.method,
        windows=windows,
        idle_s=sum(b.start_s - a.end_s for a, b in pairwise(windows)),
        sensor=heat.sensor if heat else None,
        start_c=start_c,
        cold_fps=windows[0].fps,
        sustained_fps=held,
        drop=None if held is None else 1 - held / windows[0].fps,
        throttled=throttled,
        rejections=tuple(reason for reason in tried.rejections if not is_transient(reason)),
        missing=missing,
        started_at=started_at,
    )


def _windows(windows: Sequence[LoadWindow], readings: Sequence[HeatReading]) -> tuple[SustainedWindow, ...]:
    """The windows, each with the reading that is nearest to its end if that is no farther than its length."""
    origin_s = windows[0].start_s
    found = []
    for window in windows:
        length_s = window.end_s - window.start_s
        near = min(readings, key=lambda reading: abs(reading.uptime_s - window.end_s), default=None)
        if near is not None and abs(near.uptime_s - window.end_s) > max(length_s, 1.0):
            near = None
        found.append(
            SustainedWindow(
                start_s=window.start_s - origin_s,
                end_s=window.end_s - origin_s,
                n=window.n,
                fps=window.n / length_s,
                median_ms=window.median_ms,
                temperature_c=near.temperature_c if near else None,
                freq_mhz=near.freq_mhz if near else None,
            )
        )
    return tuple(found)


def _fps(windows: Sequence[SustainedWindow]) -> float:
    return sum(window.n for window in windows) / math.fsum(window.end_s - window.start_s for window in windows)
