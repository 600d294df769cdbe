"""Makes Measurements of what the processes of a sitting measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from device_bench import stats
from device_bench.device import JobResult, Missing, ModelRun
from device_bench.records import (
    DeviceInfo,
    LatencyStats,
    Measurement,
    MemoryUse,
    OpTime,
    PowerUse,
    SparseUse,
    ThermalState,
)
from device_bench.sitting import Sitting
from device_bench.sparse import sparse_kernels

NOT_ASKED = Missing(reason="not asked for")


def assemble(
    device: DeviceInfo,
    sitting: Sitting,
    index: int = 0,
    power: PowerUse | Missing = NOT_ASKED,
    ops: tuple[OpTime, ...] | Missing = NOT_ASKED,
) -> Measurement:
    """The Measurement of one of a sitting's subjects.

    Args:
        ops: what a pass of its own found, where the runner found nothing beside its timed runs.
    """
    results = sitting.results
    models = [result.models[index] for result in results]
    rejections = sitting.rejections(index)
    latency = stats.latency_of(models)
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
    sparse = _sparse_use(sitting.subjects[index].sparse_weights, ops, missing)
    missing |= _latency_missing(latency, models[0])
    return Measurement(
        device=device,
        runtime=results[0].runtime,
        artifact=sitting.subjects[index].artifact,
        spec=sitting.spec,
        latency_ms=latency,
        init_ms=median(model.init_ms for model in models),
        first_ms=median(model.first_ms for model in models),
        fps=latency.n / sum(model.wall_s for model in models),
        memory=memory,
        power=None if isinstance(power, Missing) else power,
        thermal=thermal,
        delegate=delegate,
        ops=None if isinstance(ops, Missing) else ops,
        sparse=sparse,
        missing=missing,
        valid=not rejections,
        rejections=rejections,
        rejected=sitting.set_aside(index),
        started_at=sitting.started_at,
    )


def _sparse_use(stored: int, ops: Sequence[OpTime] | Missing, missing: dict[str, str]) -> SparseUse | None:
    """What became of the weights that are stored without zeros; a reason goes to `missing`."""
    if not stored:
        return None
    kernels = sparse_kernels(ops)
    if isinstance(kernels, Missing):
        missing["sparse.kernels"] = kernels.reason
        return SparseUse(stored=stored, kernels=None)
    return SparseUse(stored=stored, kernels=kernels)


def _latency_missing(latency: LatencyStats, model: ModelRun) -> dict[str, str]:
    reasons = {
        name: "the tool gives aggregates of its runs, not samples; the median is that of its runs' medians"
        for name, value in latency
        if value is None
    }
    if "ci95" in reasons:
        reasons["ci95"] = "one process: the spread over processes is not known; ask for more processes"
    return {f"latency_ms.{name}": model.missing.get(f"latency_ms.{name}", why) for name, why in reasons.items()}


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
