"""Runs processes until a figure is known well enough: good ones are kept, disturbed ones are repeated.

A process gets its memory layout and its clock once, so that precision comes from more processes, not from longer ones.
How many it takes depends on the device: a quiet one is done at the first look, a noisy one goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial

from device_bench import judge, stats
from device_bench.device import Device, Job, JobModel, JobResult
from device_bench.errors import TransientDeviceError
from device_bench.judge import Subject
from device_bench.records import UNSTABLE, BenchSpec, RejectedProcess, kind_of

ATTEMPTS = 3
RETRY_AFTER_S = 0.5
MAX_PAUSE_S = 4.0
BASELINE = 0
FIRST_LOOK = 5
"""Processes before a median's precision is looked at. Whoever stops as soon as an interval looks narrow stops where it
is so by luck; of two or three processes that luck is common (`tests/statistics/test_precision.py`)."""
FIRST_LOOK_AT_RATIOS = 2
"""The baseline's second copy tells the spread as well, and makes up for few processes."""


@dataclass(frozen=True)
class Process:
    """What one runner process measured, and why it was rejected (nothing if it is kept)."""

    result: JobResult
    reasons: tuple[str, ...]
    started_at: str


@dataclass
class Sitting:
    """The processes of one model, or of a baseline and candidates that took turns in each of them.

    Attributes:
        subjects: the model, or the baseline and its candidates.
        kept: what the figures come from.
        rejected: what was put aside, and repeated where that helps.
        lasting: rejections that repeating does not mend, by the subject's index; it is not judged any further.
    """

    spec: BenchSpec
    subjects: Sequence[Subject]
    kept: list[Process] = field(default_factory=list)
    rejected: list[Process] = field(default_factory=list)
    lasting: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def models(self) -> tuple[JobModel, ...]:
        """What each process loads: of several models, the baseline a second time at the end."""
        models = tuple(subject.job_model() for subject in self.subjects)
        return models if len(models) == 1 else (*models, models[BASELINE])

    @property
    def count(self) -> int:
        return len(self.kept) + len(self.rejected)

    @property
    def processes(self) -> list[Process]:
        """Those that the figures come from: the good ones; where there is none, the rejected ones."""
        return self.kept or self.rejected

    @property
    def results(self) -> list[JobResult]:
        return [process.result for process in self.processes]

    @property
    def started_at(self) -> str:
        return min(process.started_at for process in (*self.kept, *self.rejected))

    @property
    def is_over(self) -> bool:
        return self._is_futile or self.count >= self.spec.most_processes or self._is_known

    @property
    def _is_futile(self) -> bool:
        """Nothing is left to find out: the baseline, or everything beside it, is rejected for good."""
        others = set(range(1, len(self.subjects)))
        return BASELINE in self.lasting or (bool(others) and others <= self.lasting.keys())

    @property
    def _is_known(self) -> bool:
        spec, kept = self.spec, len(self.kept)
        if kept < spec.processes or spec.precision is None:
            return kept >= spec.processes
        first_look = FIRST_LOOK if len(self.subjects) == 1 else FIRST_LOOK_AT_RATIOS
        if kept < min(first_look, spec.most_processes):
            return False
        widths = self.half_widths()
        return all(widths[i] <= spec.precision for i in range(len(widths)) if i not in self.lasting)

    def take(self, result: JobResult, started_at: str) -> Process:
        """Judge a process, and keep it or put it aside; a process is good for all of its models or for none.

        Turns are paired: what disturbed one model of a process disturbed its ratios.
        """
        reasons: dict[str, None] = {}
        for i, found in enumerate(self._judged(result)):
            if i in self.lasting:
                continue
            if for_good := tuple(reason for reason in found if not judge.is_transient(reason)):
                self.lasting[i] = for_good
            else:
                reasons |= dict.fromkeys(found)
        if self._is_futile:
            reasons |= dict.fromkeys(reason for found in self.lasting.values() for reason in found)
        process = Process(result, tuple(reasons), started_at)
        (self.rejected if reasons else self.kept).append(process)
        return process

    def _judged(self, result: JobResult) -> list[list[str]]:
        """Rejections of each subject; those of the baseline's second copy are the baseline's."""
        goldens = [model.golden for model in self.models]
        found = [judge.rejections(result, *pair, self.spec) for pair in zip(result.models, goldens, strict=True)]
        copies = found[len(self.subjects) :]
        found[BASELINE] = list(dict.fromkeys([*found[BASELINE], *(reason for copy in copies for reason in copy)]))
        return found[: len(self.subjects)]

    def half_widths(self) -> list[float]:
        """Half width of the 95% interval over its value, of the median or of each subject's ratio to the baseline."""
        results = [process.result for process in self.kept]
        if len(self.subjects) == 1:
            latency = stats.latency_of([result.models[0] for result in results])
            if latency.ci95 is None or latency.median is None:
                return [math.inf]
            return [stats.relative_half_width(latency.ci95, latency.median)]
        again = turn_ratios(results, len(self.subjects))
        widths = [0.0]
        for i in range(1, len(self.subjects)):
            ratios = turn_ratios(results, i)
            widths.append(stats.relative_half_width(stats.ratio_ci(ratios, again), stats.overall_ratio(ratios)))
        return widths

    def rejections(self, i: int) -> tuple[str, ...]:
        """Why the figures of a subject must not be believed."""
        spec, kept = self.spec, len(self.kept)
        if i in self.lasting:
            return self.lasting[i]
        if kept < spec.processes:
            left = (f"unfinished: nothing was left to compare after {_processes(self.count)}",)
            return (*self._why_too_few(), *(left if self._is_futile else ()))
        if spec.precision is not None and (width := self.half_widths()[i]) > spec.precision:
            figure = "median" if len(self.subjects) == 1 else "ratio"
            return (
                f"{UNSTABLE}: the {figure} is known to {100 * width:.2g}% after {_processes(kept)} "
                f"({100 * spec.precision:.2g}% was asked for)",
            )
        return ()

    def _why_too_few(self) -> list[str]:
        """Each kind of transient rejection in the words of the last process that met it, and how many did."""
        last: dict[str, str] = {}
        counts: dict[str, int] = {}
        for process in self.rejected:
            for reason in filter(judge.is_transient, process.reasons):
                kind = kind_of(reason)
                last[kind], counts[kind] = reason, counts.get(kind, 0) + 1
        if self.spec.most_processes == 1:
            return list(last.values())
        return [f"{reason} ({counts[kind]} of {_processes(self.count)})" for kind, reason in last.items()]

    def set_aside(self, i: int) -> tuple[RejectedProcess, ...]:
        """What the rejected processes measured of a subject."""
        found = []
        for process in self.rejected:
            run = process.result.models[i]
            latency = stats.latency_of([run])
            found.append(
                RejectedProcess(
                    reasons=process.reasons,
                    median_ms=latency.median,
                    samples=latency.samples,
                    started_at=process.started_at,
                )
            )
        return tuple(found)


def sit(device: Device, spec: BenchSpec, subjects: Sequence[Subject], name: str) -> Sitting:
    """Make a device ready and run processes, each with a seed of its own, until the figures are known.

    That is: `spec.processes` good ones and intervals within `spec.precision`; `spec.most_processes` in all; or a
    rejection that repeating does not mend.

    Args:
        subjects: one model, or a baseline and its candidates.
        name: what the device's observer is told is measured.
    """
    sitting = Sitting(spec, subjects)
    in_a_row = 0
    with_retries(partial(device.prepare, spec.readiness))
    while True:
        number = sitting.count + 1
        bound = f"{spec.processes}" if number <= spec.processes else f"at most {spec.most_processes}"
        device.observer.doing(f"{name}: process {number} of {bound}")
        started_at = utc_now()
        result = with_retries(partial(device.run, Job.of(spec, sitting.models, seed=sitting.count)))
        process = sitting.take(result, started_at)
        if sitting.is_over:
            return sitting
        in_a_row = in_a_row + 1 if process.reasons else 0
        if in_a_row:
            # What disturbs now may be over soon: a build's end, another program's start, a processor that cools.
            pause_s = min(device.pause_s * 2 ** (in_a_row - 1), MAX_PAUSE_S)
            device.observer.doing(f"{name}: {process.reasons[0]}; again in {pause_s:g} s")
            time.sleep(pause_s)
            with_retries(partial(device.prepare, spec.readiness))


def with_retries[T](action: Callable[[], T]) -> T:
    """Do something with a device; a transient failure is tried again, `ATTEMPTS` times in all."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except TransientDeviceError as error:
            if attempt == ATTEMPTS:
                raise TransientDeviceError(f"{error} (tried {ATTEMPTS} times)") from error
            time.sleep(RETRY_AFTER_S * attempt)
    raise AssertionError("unreachable")


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def turn_ratios(results: Sequence[JobResult], i: int) -> list[list[float]]:
    """Latency of a job's model i over the baseline's in each round, process by process."""
    return [stats.paired_ratios(result.models[BASELINE].blocks, result.models[i].blocks) for result in results]


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"
