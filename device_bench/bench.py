"""Measures model files one by one: check, warm up and run in a fresh process each, retry, assemble, reject."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from device_bench import stats
from device_bench.device import Device, Job, JobModel, JobResult, Missing, ModelRun
from device_bench.devices import open_device
from device_bench.errors import TransientDeviceError, UsageError
from device_bench.modelfile import describe
from device_bench.records import (
    ArtifactInfo,
    BenchSpec,
    DelegateUse,
    DeviceInfo,
    MemoryUse,
    Measurement,
    PowerUse,
    Record,
    ThermalState,
)
from device_bench.sidecar import Golden

ATTEMPTS = 3
RETRY_AFTER_S = 0.5


class Subject(Record):
    """A model file that may be measured: it is what it says, and its sidecar fits."""

    artifact: ArtifactInfo
    golden: Golden | None

    def job_model(self) -> JobModel:
        return JobModel(path=Path(self.artifact.path).absolute(), golden=self.golden)


def benchmark(
    model_path: str | Path, device: str = "host", spec: BenchSpec | None = None, *, power: bool = True
) -> Measurement:
    """Measure one model file on one device.

    Args:
        device: a device spec such as `host`.
        power: measure power as well, in a pass of its own, where the device can (it takes some seconds).

    Raises:
        UsageError: a device, file or spec that cannot work.
        DeviceUnavailableError: the device is not there.
        RunnerError: the program on the device died, hung or printed garbage.
    """
    return benchmark_many([model_path], device, spec, power=power)[0]


def benchmark_many(
    paths: Sequence[str | Path],
    device: str = "host",
    spec: BenchSpec | None = None,
    on_result: Callable[[int, Measurement], None] | None = None,
    *,
    power: bool = False,
) -> list[Measurement]:
    """Measure model files over one connection, each in `spec.processes` fresh runner processes.

    All files are checked before the first is run.

    Args:
        on_result: called with the index of each path and its Measurement as soon as it is there.
        power: as for `benchmark`.
    """
    spec = spec or BenchSpec()
    measurements = []
    with open_device(device) as opened:
        subjects = [check(opened, Path(path), spec) for path in paths]
        for i, subject in enumerate(subjects):
            measurements.append(_measure(opened, subject, spec, power))
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
    return Subject(artifact=artifact, golden=sidecar.golden if sidecar else None)


def run_with_retries(device: Device, job: Job) -> JobResult:
    """Run a job; a transient failure is tried again, `ATTEMPTS` times in all."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return device.run(job)
        except TransientDeviceError as error:
            if attempt == ATTEMPTS:
                raise TransientDeviceError(f"{error} (tried {ATTEMPTS} times)") from error
            time.sleep(RETRY_AFTER_S * attempt)
    raise AssertionError("unreachable")


def _measure(device: Device, subject: Subject, spec: BenchSpec, power: bool) -> Measurement:
    started_at = utc_now()
    jobs = [Job.of(spec, (subject.job_model(),), seed) for seed in range(spec.processes)]
    results = [run_with_retries(device, job) for job in jobs]
    used = measure_power(device, jobs[0]) if power else Missing(reason="not asked for")
    return assemble(device.info(), subject, spec, [(r, r.models[0]) for r in results], used, started_at)


def measure_power(device: Device, job: Job) -> PowerUse | Missing:
    return device.power(job)


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def assemble(
    device: DeviceInfo,
    subject: Subject,
    spec: BenchSpec,
    runs: Sequence[tuple[JobResult, ModelRun]],
    power: PowerUse | Missing,
    started_at: str,
) -> Measurement:
    """One Measurement from what one model did in one or more processes."""
    results, models = [result for result, _ in runs], [model for _, model in runs]
    rejections = tuple(dict.fromkeys(reason for result, model in runs for reason in _rejections(result, model, subject)))
    missing = {**results[0].missing, **models[0].missing}
    missing["ops"] = "the runner gives no times of single operations"
    if len(runs) == 1:
        missing["latency_ms.ci95"] = "one process: its spread over processes is not known (ask for more processes)"
    if isinstance(power, Missing):
        missing["power"] = power.reason
    samples = [[ms for block in model.blocks for ms in block] for model in models]
    return Measurement(
        device=device,
        runtime=results[0].runtime,
        artifact=subject.artifact,
        spec=spec,
        latency_ms=stats.summarize(samples),
        init_ms=stats.median([model.init_ms for model in models]),
        first_ms=stats.median([model.first_ms for model in models]),
        fps=sum(map(len, samples)) / sum(model.wall_s for model in models),
        memory=_largest_memory(results),
        power=None if isinstance(power, Missing) else power,
        thermal=_thermal(results),
        delegate=models[0].delegate,
        ops=None,
        missing=missing,
        valid=not rejections,
        rejections=rejections,
        started_at=started_at,
    )
