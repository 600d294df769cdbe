"""The noise floor of a device: what difference between two files can be seen there at all.

Every comparison times two copies of its baseline, whose ratio should be 1; `noise_store` remembers what it was. What
all processes of a sitting have in common (the state of the machine, the order in which files were loaded) does not
shrink with their number, as what each is off by alone does, so the two are told apart: an analysis of variance around
a known mean. Of 40 recorded sittings on a two-core virtual machine, a floor that took all processes for independent
covered 83 to 87% of the comparisons of three and five processes, this one 92 to 98%.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_bench import stats
from device_bench.device import Missing, Observer
from device_bench.noise_store import SelfComparison, Timing, append, default_path, read
from device_bench.records import BenchSpec, ComparisonResult, Measurement, NoiseFloor, RuntimeInfo

MIN_PROCESSES = 10
"""With fewer, the floor itself is not known to a factor of 1.8."""
ALIKE = 4.0
"""A model's noise tells that of models up to so many times as fast or slow: small networks are noisier."""
DRAWS = 10_000
REMEDY = "each `compare` adds its own, `pocketprune noise MODEL` as many as are needed"


def floor(
    device_id: str,
    spec: BenchSpec,
    processes: int,
    *,
    runtime: RuntimeInfo | None = None,
    model_ms: float | None = None,
) -> NoiseFloor | Missing:
    """What the device is known to show of a comparison of so many processes under a spec.

    Args:
        runtime: the one that counts; by default the last one that was used under the spec.
        model_ms: latency of the comparison's baseline; by default models of any size count.
    """
    path = default_path(device_id)
    try:
        sittings, _ = read(path)
    except OSError as error:
        return Missing(reason=f"what is known of this device's noise cannot be read: {error}")
    timing = Timing.of(spec)
    here = [one for one in sittings if one.device_id == device_id and one.timing == timing]
    used = [_key(one.runtime) for one in here[-1:]] if runtime is None else [_key(runtime)]
    here = [one for one in here if _key(one.runtime) in used]
    if model_ms is not None:
        here = [one for one in here if 1 / ALIKE <= one.median_ms / model_ms <= ALIKE]
    return floor_of_sittings(here, processes)


def floor_for(measurement: Measurement, processes: int) -> NoiseFloor | Missing:
    """What is known of comparisons with such a model, on the device, runtime and spec of a measurement."""
    return floor(
        measurement.device.id,
        measurement.spec,
        processes,
        runtime=measurement.runtime,
        model_ms=measurement.median_ms,
    )


def floor_of(results: Sequence[ComparisonResult], processes: int | None = None) -> NoiseFloor | Missing:
    """What comparisons, all of one device and spec, say of one of so many processes; by default as the last one had."""
    sittings = [one for one in map(_self_comparison, results) if one is not None]
    return floor_of_sittings(sittings, processes or (len(sittings[-1].log_ratios) if sittings else 1))


def floor_of_sittings(sittings: Sequence[SelfComparison], processes: int) -> NoiseFloor | Missing:
    n = sum(len(one.log_ratios) for one in sittings)
    if n < MIN_PROCESSES:
        return Missing(
            reason=f"{n} processes timed such a file against itself here, and {MIN_PROCESSES} are needed; {REMEDY}"
        )
    process, sitting = spreads([one.log_ratios for one in sittings])
    beyond, visible = _quantiles(process, sitting, processes)
    t, low, high = _few(n)
    begun = sorted(one.started_at for one in sittings)
    medians = [one.median_ms for one in sittings]
    return NoiseFloor(
        processes=processes,
        floor=float(np.expm1(t * beyond)),
        ci95=(float(np.expm1(low * beyond)), float(np.expm1(high * beyond))),
        visible=float(np.expm1(visible)),
        process_spread=process,
        sitting_spread=sitting,
        n=n,
        sittings=len(sittings),
        models_ms=(min(medians), max(medians)),
        period=(begun[0], begun[-1]),
    )


def spreads(sittings: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Standard deviations of log ratios whose mean is known to be 0: of processes in a sitting, of what is common.

    Products of two processes of one sitting have the variance of what is common as their mean, and squares that of
    both together.
    """
    squares = sum(float(np.square(ratios).sum()) for ratios in sittings)
    products = sum(float(np.sum(ratios) ** 2) for ratios in sittings) - squares
    pairs = sum(len(ratios) * (len(ratios) - 1) for ratios in sittings)
    both = squares / sum(len(ratios) for ratios in sittings)
    common = min(max(0.0, products / pairs), both) if pairs else 0.0
    return float(np.sqrt(both - common)), float(np.sqrt(common))


def _quantiles(process: float, sitting: float, processes: int) -> tuple[float, float]:
    """Log difference that 95% of comparisons of a file with itself stay below, and the true one found by 90%.

    Comparisons are drawn as `compare` makes them: a baseline, its copy and a candidate, each with a level of its own in
    the sitting and in each process. The ratio that it shows is a median over rounds; where these scatter less than
    processes do, it is the median of processes, and so it is taken here.
    """
    rng = np.random.default_rng(0)
    levels = sitting * rng.standard_normal((3, DRAWS, 1)) + process * rng.standard_normal((3, DRAWS, processes))
    baseline, copy, candidate = levels / np.sqrt(2)
    ours, theirs = copy - baseline, candidate - baseline  # (DRAWS, processes)
    shown = np.abs(np.median(ours, axis=1))
    lowest = np.minimum(theirs.mean(axis=1) - stats.half_width(theirs, ours), np.median(theirs, axis=1))
    return float(np.quantile(shown, 0.95)), float(np.quantile(shown - lowest, 0.9))


def _few(n: int) -> tuple[float, float, float]:
    """Factors for a spread that n processes told: by Student's t for what comes next, by chi-square its interval."""
    from scipy.special import chdtri, stdtrit  # here, since importing scipy takes a moment

    t = stdtrit(n, 0.975) / stdtrit(1e9, 0.975)
    return float(t), float(np.sqrt(n / chdtri(n, 0.025))), float(np.sqrt(n / chdtri(n, 0.975)))


def with_device_noise(result: ComparisonResult, observer: Observer) -> ComparisonResult:
    """Remember how the baseline compared with itself, and add what the device is known to show.

    A memory that cannot be written or read spoils no measurement: the observer is told.
    """
    baseline = result.measurements[0]
    sitting = _self_comparison(result)
    if sitting is not None:
        path = default_path(baseline.device.id)
        try:
            damaged = append(path, sitting)
        except OSError as error:
            observer.doing(f"how the baseline compared with itself is not remembered: {error}")
        else:
            if damaged:
                observer.doing(f"{path}: {damaged} damaged line(s) left out")
    known = floor_for(baseline, len(result.baseline_log_ratios) or baseline.spec.processes)
    if isinstance(known, Missing):
        return result.model_copy(update={"device_noise": None, "missing": {"device_noise": known.reason}})
    return result.model_copy(update={"device_noise": known, "missing": {}})


def _self_comparison(result: ComparisonResult) -> SelfComparison | None:
    """None where no process counted."""
    baseline = result.measurements[0]
    if not result.baseline_log_ratios or baseline.artifact.sha256 is None:
        return None
    return SelfComparison(
        device_id=baseline.device.id,
        runtime=_key(baseline.runtime),
        timing=Timing.of(baseline.spec),
        model_sha256=baseline.artifact.sha256,
        median_ms=baseline.median_ms,
        log_ratios=result.baseline_log_ratios,
        started_at=baseline.started_at,
    )


def _key(runtime: RuntimeInfo) -> RuntimeInfo:
    """Which runtime it was; the runner's hash also changes with what has no part in timing."""
    return runtime.model_copy(update={"runner_sha256": None})
