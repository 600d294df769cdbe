"""Measures model files one by one: check, sit through their processes, look at power and operations, assemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from device_bench.assemble import NOT_ASKED, assemble
from device_bench.device import Device, Job, Missing, ModelRun, Observer
from device_bench.devices import open_device
from device_bench.errors import UsageError
from device_bench.judge import Subject
from device_bench.modelfile import describe, is_tflite
from device_bench.records import BenchSpec, Measurement, OpTime
from device_bench.sitting import sit, with_retries
from device_bench.tflite import read_graph


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
        ops: time each operation as well, in a pass of its own, where the device can. A file that leaves zeros out has
            it in any case: it tells whether that was of use.
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
    """Measure model files over one connection, each in fresh runner processes (see `sitting`).

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
    sparse = _sparse_weights(path) if is_tflite(path) else 0
    if sidecar is None:
        return Subject(artifact=artifact, golden=None, sparse_weights=sparse)
    return Subject(artifact=artifact, golden=sidecar.golden, accuracy=sidecar.accuracy, sparse_weights=sparse)


def _sparse_weights(path: Path) -> int:
    try:
        return read_graph(path).sparse_weights
    except UsageError:  # not a whole file: the device's own runtime says so, as of any other
        return 0


def _measure(device: Device, subject: Subject, spec: BenchSpec, power: bool, ops: bool) -> Measurement:
    sitting = sit(device, spec, (subject,), Path(subject.artifact.path).name)
    job = Job.of(spec, sitting.models)
    used = with_retries(partial(device.power, job)) if power else NOT_ASKED
    found = time_ops(device, job, sitting.results[0].models[0], ops or subject.sparse_weights > 0)
    return assemble(device.info(), sitting, power=used, ops=found)


def time_ops(device: Device, job: Job, run: ModelRun, asked: bool) -> tuple[OpTime, ...] | Missing:
    """Time of each operation by a pass of its own, where that is asked for and the runner did not look itself."""
    if not asked or run.ops is not None or "ops" in run.missing:
        return NOT_ASKED
    device.observer.doing(f"{job.models[0].path.name}: time of each operation")
    return with_retries(partial(device.ops, job))
