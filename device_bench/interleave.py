"""Compares model files on one device by timing them in turns, so that what the machine does meanwhile hits all alike.

The baseline is loaded twice: how it differs from itself in this very sitting is the noise floor, and a candidate that
differs no more than that is not called faster or slower. Ratios are to be believed rather than two separate medians.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import log
from pathlib import Path
from statistics import median

from device_bench import stats
from device_bench.accuracy import accuracy_difference
from device_bench.assemble import NOT_ASKED, assemble
from device_bench.bench import check, time_ops
from device_bench.device import Job, JobResult, Missing, Observer
from device_bench.devices import open_device
from device_bench.errors import UsageError
from device_bench.judge import Subject
from device_bench.noise import with_device_noise
from device_bench.records import BenchSpec, Comparison, ComparisonResult, Measurement
from device_bench.sitting import BASELINE, sit, turn_ratios, with_retries


def compare(
    paths: Sequence[str | Path],
    device: str = "host",
    spec: BenchSpec | None = None,
    names: Sequence[str] | None = None,
    *,
    power: bool = False,
    ops: bool = False,
    observer: Observer | None = None,
) -> ComparisonResult:
    """Compare candidates (all paths but the first) with a baseline (the first), in fresh processes (see `sitting`).

    Args:
        names: what the comparisons call the files; their paths by default.
        power: measure each model's power afterwards, where the device can.
        ops: time each model's operations afterwards, where the device can.
        observer: told what goes on meanwhile.

    Raises:
        UsageError: fewer than two files, or a device, file or spec that cannot work.
        DeviceUnavailableError: the device is not there.
        RunnerError: the program on the device died, hung or printed garbage.
    """
    spec = spec or BenchSpec()
    names = [str(path) for path in paths] if names is None else list(names)
    if len(paths) < 2:
        raise UsageError(f"compare: {len(paths)} model file(s); give a baseline and at least one candidate")
    if len(names) != len(paths):
        raise UsageError(f"compare: {len(names)} names for {len(paths)} model files; give one for each")
    with open_device(device) as opened:
        opened.observer = observer or opened.observer
        subjects = [check(opened, Path(path), spec) for path in paths]
        sitting = sit(opened, spec, subjects, f"{len(paths)} models in turns")
        measurements = []
        for i, subject in enumerate(subjects):
            alone = Job.of(spec, (subject.job_model(),))
            used = with_retries(partial(opened.power, alone)) if power else NOT_ASKED
            found = time_ops(opened, alone, sitting.results[0].models[i], ops or subject.sparse_weights > 0)
            measurements.append(assemble(opened.info(), sitting, i, used, found))
    again = turn_ratios([process.result for process in sitting.kept], len(names))
    result = ComparisonResult(
        comparisons=tuple(_comparisons(sitting.results, measurements, subjects, names)),
        measurements=tuple(measurements),
        baseline_log_ratios=tuple(log(median(rounds)) for rounds in again),
    )
    return with_device_noise(result, observer or Observer())


def _comparisons(
    results: Sequence[JobResult],
    measurements: Sequence[Measurement],
    subjects: Sequence[Subject],
    names: Sequence[str],
) -> list[Comparison]:
    again = turn_ratios(results, len(names))
    noise_floor = abs(stats.overall_ratio(again) - 1)
    comparisons = []
    for i in range(1, len(names)):
        ratios = turn_ratios(results, i)
        ci95 = stats.ratio_ci(ratios, again)
        accuracy = accuracy_difference(subjects[BASELINE].accuracy, subjects[i].accuracy)
        believed = measurements[BASELINE].believed and measurements[i].believed
        comparisons.append(
            Comparison(
                baseline=names[BASELINE],
                candidate=names[i],
                ratio=stats.overall_ratio(ratios),
                ci95=ci95,
                verdict=stats.verdict(ci95, noise_floor) if believed else "inconclusive",
                noise_floor=noise_floor,
                accuracy=None if isinstance(accuracy, Missing) else accuracy,
                missing={"accuracy": accuracy.reason} if isinstance(accuracy, Missing) else {},
            )
        )
    return comparisons
