"""Measures model files one by one: check, warm up and run in a fresh process each, retry, assemble, reject."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from device_bench import stats
from device_bench.device import Device, Job, JobModel, JobResult, Missing, ModelRun, Observer
from device_bench.devices import open_device
from device_bench.errors import TransientDeviceError
from device_bench.modelfile import describe
from device_bench.records import (
    ArtifactInfo,
    BenchSpec,
    DelegateUse,
    DeviceInfo,
    LatencyStats,
    Measurement,
    MemoryUse,
    OpTime,
    PowerUse,
    Record,
    ThermalState,
)
from device_bench.sidecar import Golden, SidecarAccuracy

ATTEMPTS = 3
RETRY_AFTER_S = 0.5
NOT_ASKED = Missing(reason="not asked for")
HALF_PRECISION_ERROR = 0.03
"""What an accelerator's answers may differ by, in parts of the largest: GPUs and NPUs compute in half precision, whose
roundings of 2**-11 each add up over a network's layers; a wrong answer is off by much more."""


class Subject(Record):
    """A model file that may be measured: it is what it says, and its sidecar fits."""

    artifact: ArtifactInfo
    golden: Golden | None
    accuracy: SidecarAccuracy | None = None

    def job_model(self) -> JobModel:
        return JobModel(path=Path(self.artifact.path).absolute(), golden=self.golden)


def benchmark(
    model_path: str | Path,
    device: str = "host",
    spec: BenchSpec | None = None,
    *,
    power: bool = True,
    ops: bool = False,
    observer: Observer | None = None,
) -> Measurement:
    """Measure one model file on one device.

    Args:
        device: a device spec such as `host`.
        power: measure power as well, in a pass of its own, where the device can (it takes some seconds).
        ops: time each operation as well, in a pass of its own, where the device can.
        observer: told what goes on meanwhile.

    Raises:
        UsageError: a device, file or spec that cannot work.
        DeviceUnavailableError: the device is not there.
        RunnerError: the program on the device died, hung or printed garbage.
    """
    return benchmark_many([model_path], device, spec, power=power, ops=ops, observer=observer)[0]


def benchmark_many(
    paths: Sequence[str | Path],
    device: str = "host",
    spec: BenchSpec | None = None,
    on_result: Callable[[int, Measurement], None] | None = None,
    *,
    power: bool = True,
    ops: bool = False,
    observer: Observer | None = None,
) -> list[Measurement]:
    """Measure model files over one connection, each in `spec.processes` fresh runner processes.

    All files are checked before the first is run.

    Args:
        on_result: called with the index of each path and its Measurement as soon as it is there.
        power, ops, observer: as for `benchmark`.
    """
    spec = spec or BenchSpec()
    measurements = []
    with open_device(device) as opened:
        opened.observer = observer or opened.observer
        subjects = [check(opened, Path(path), spec) for path in paths]
        for i, subject in enumerate(subjects):
            measurements.append(_measure(opened, subject, spec, power, ops))
            if on_result is not None:
                on_result(i, measurements[-1])
    return measurements


def check(device: Device, path: Path, spec: BenchSpec) -> Subject:
    """Refuse a file or spec that cannot work on the device, before anything is started.

    Raises:
        UsageError: with the rule that it breaks.
    """
    device.check(path, spec)
    artifact, sidecar = describe(path)
    if sidecar is None:
        return Subject(artifact=artifact, golden=None)
    return Subject(artifact=artifact, golden=sidecar.golden, accuracy=sidecar.accuracy)


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


def run_jobs(device: Device, jobs: Sequence[Job], name: str) -> list[JobResult]:
    """Run jobs one after another; the device's observer is told which process of `name` it is."""
    results = []
    for number, job in enumerate(jobs, 1):
        device.observer.doing(f"{name}: process {number} of {len(jobs)}")
        results.append(with_retries(partial(device.run, job)))
    return results


def _measure(device: Device, subject: Subject, spec: BenchSpec, power: bool, ops: bool) -> Measurement:
    with_retries(partial(device.prepare, spec.readiness))
    started_at = utc_now()
    jobs = [Job.of(spec, (subject.job_model(),), seed) for seed in range(spec.processes)]
    results = run_jobs(device, jobs, Path(subject.artifact.path).name)
    used = with_retries(partial(device.power, jobs[0])) if power else NOT_ASKED
    found = time_ops(device, jobs[0], results[0].models[0], ops)
    runs = [(result, result.models[0]) for result in results]
    return assemble(device.info(), subject, spec, runs, used, started_at, found)


def time_ops(device: Device, job: Job, run: ModelRun, asked: bool) -> tuple[OpTime, ...] | Missing:
    """Time of each operation by a pass of its own, where that is asked for and the runner did not look itself."""
    if not asked or run.ops is not None or "ops" in run.missing:
        return NOT_ASKED
    device.observer.doing(f"{job.models[0].path.name}: time of each operation")
    return with_retries(partial(device.ops, job))


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def assemble(
    device: DeviceInfo,
    subject: Subject,
    spec: BenchSpec,
    runs: Sequence[tuple[JobResult, ModelRun]],
    power: PowerUse | Missing,
    started_at: str,
    ops: tuple[OpTime, ...] | Missing = NOT_ASKED,
) -> Measurement:
    """One Measurement from what one model did in one or more processes.

    Args:
        ops: what a pass of its own found, where the runner found nothing beside its timed runs.
    """
    results, models = [result for result, _ in runs], [model for _, model in runs]
    rejections = tuple(dict.fromkeys(reason for run in runs for reason in _rejections(*run, subject.golden, spec)))
    latency = _latency(models)
    memory, thermal, delegate = _largest_memory(results), _thermal(results), models[0].delegate
    missing = dict(models[0].missing)
    for name, value in (("memory", memory), ("thermal", thermal), ("delegate", delegate)):
        if value is None:
            missing[name] = {**results[0].missing, **missing}[name]
    if isinstance(power, Missing):
        missing["power"] = power.reason
    ops = ops if models[0].ops is None else models[0].ops
    if isinstance(ops, Missing):
        missing.setdefault("ops", ops.reason)
    missing |= _latency_missing(latency, models[0])
    return Measurement(
        device=device,
        runtime=results[0].runtime,
        artifact=subject.artifact,
        spec=spec,
        latency_ms=latency,
        init_ms=median(model.init_ms for model in models),
        first_ms=median(model.first_ms for model in models),
        fps=latency.n / sum(model.wall_s for model in models),
        memory=memory,
        power=None if isinstance(power, Missing) else power,
        thermal=thermal,
        delegate=delegate,
        ops=None if isinstance(ops, Missing) else ops,
        missing=missing,
        valid=not rejections,
        rejections=rejections,
        started_at=started_at,
    )


def _latency(models: Sequence[ModelRun]) -> LatencyStats:
    """From the samples of all processes, or from what a tool without samples says about its runs."""
    aggregates = [run for model in models for run in model.aggregates or ()]
    if aggregates:
        return stats.pool(aggregates)
    return stats.summarize([[ms for block in model.blocks for ms in block] for model in models])


def _latency_missing(latency: LatencyStats, model: ModelRun) -> dict[str, str]:
    reasons = {
        name: "the tool gives aggregates of its runs, not samples; the median is that of its runs' medians"
        for name, value in latency
        if value is None
    }
    if "ci95" in reasons:
        reasons["ci95"] = "one process: the spread over processes is not known; ask for more processes"
    return {f"latency_ms.{name}": model.missing.get(f"latency_ms.{name}", why) for name, why in reasons.items()}


def _rejections(result: JobResult, model: ModelRun, golden: Golden | None, spec: BenchSpec) -> list[str]:
    """Why one process's figures must not be believed."""
    reasons = list(result.rejections)
    if result.thermal is not None and result.thermal.throttled:
        reasons.append("throttled")
    if model.delegate is not None:
        reasons += delegate_rejections(model.delegate)
    if golden is not None and model.golden_error is not None:
        allowed = max(golden.max_rel_error, HALF_PRECISION_ERROR if spec.accelerator != "cpu" else 0.0)
        if not model.golden_error <= allowed:
            reasons.append(
                f"wrong answer: differs from the golden outputs by {model.golden_error:.2g} of the largest "
                f"({allowed:.2g} is allowed)"
            )
    return reasons


def delegate_rejections(use: DelegateUse) -> list[str]:
    """Whole networks run in one piece on the delegate; several pieces, or operations outside, cost a multiple."""
    if use.partitions == 0:
        return [f"not delegated: {use.name} took none of {use.nodes_total} operations"]
    if use.partitions > 1 or use.nodes_delegated < use.nodes_total:
        taken = f"{use.nodes_delegated} of {use.nodes_total} operations in {use.partitions} partition(s)"
        return [f"partially delegated: {use.name} took {taken}"]
    return []


def _largest_memory(results: Sequence[JobResult]) -> MemoryUse | None:
    uses = [result.memory for result in results if result.memory is not None]
    return max(uses, key=lambda use: use.peak_rss_mb, default=None)


def _thermal(results: Sequence[JobResult]) -> ThermalState | None:
    """From the first process's start to the last one's end."""
    states = [result.thermal for result in results if result.thermal is not None]
    if not states:
        return None
    slowest = [state.freq_mhz_min for state in states if state.freq_mhz_min is not None]
    fastest = [state.freq_mhz_max for state in states if state.freq_mhz_max is not None]
    known = [state.throttled for state in states if state.throttled is not None]
    return ThermalState(
        start_c=states[0].start_c,
        end_c=states[-1].end_c,
        freq_mhz_min=min(slowest, default=None),
        freq_mhz_max=max(fastest, default=None),
        throttled=any(known) if known else None,
    )
