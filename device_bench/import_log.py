"""A Measurement from any saved output of `benchmark_model`: its text of 2018 to now, or its result file.

A log knows neither the device nor the file, and often no median: what it does not say is None, "unknown" or the
default, with the reason in `missing`, unless the caller knows better.
"""

from __future__ import annotations

from pathlib import Path

from device_bench.device import RunAggregate
from device_bench.errors import RunnerError, UsageError
from device_bench.judge import delegate_rejections
from device_bench.modelfile import check_tflite, describe
from device_bench.records import (
    Accelerator,
    ArtifactInfo,
    BenchSpec,
    Delegate,
    DeviceInfo,
    DeviceKind,
    LatencyStats,
    Measurement,
    MemoryUse,
    RuntimeInfo,
)
from device_bench.runners.benchmark_delegate import Delegation, delegation
from device_bench.runners.benchmark_log import ToolRun, parse_run, split_runs
from device_bench.runners.benchmark_result import parse_result

MAX_BYTES = 64 * 2**20
MEMORY_METHOD = "benchmark_model's periodic monitoring of its own peak; model_mb: growth since its start"
SOUGHT = (
    "the two `count=... first=... min=... max=... avg=...` lines of warm-up and measurement, LiteRT 2's "
    "`Inference (avg|min|max):` lines, or the file of --result_file_path"
)


def import_log(
    path: Path,
    *,
    run: int | None = None,
    model: Path | None = None,
    device: str | None = None,
    kind: DeviceKind = "unknown",
) -> Measurement:
    """Read a saved log.

    Args:
        run: which of the file's measurements, from 1 on; needed only where it holds several.
        model: the model file that was measured, where it is at hand.
        device: what the device is called.
        kind: of the device.

    Raises:
        UsageError: the file cannot be read, has no measurement in it, or several and `run` does not say which.
    """
    said = _pick(path, _runs(_read(path)), run)
    assert said.timed is not None
    found = _delegation(said)
    missing = _not_in_the_log(said, found)
    artifact = _artifact(said, model, missing)
    memory = _memory(said, missing)
    rejections = delegate_rejections(found.use) if found.use else [found.rejection] if found.rejection else []
    device_info = _device(device, kind, missing)
    spec = _spec(said, missing)
    return Measurement(
        device=device_info,
        runtime=RuntimeInfo(name="litert", version="unknown", runner="benchmark_model"),
        artifact=artifact,
        spec=spec,
        latency_ms=_latency(said.timed, missing),
        init_ms=said.init_ms,
        first_ms=said.first_ms,
        fps=1000 / said.timed.mean,  # the tool gives no wall time; between its inferences it only copies the inputs
        memory=memory,
        power=None,
        thermal=None,
        delegate=found.use,
        ops=said.ops,
        missing=missing,
        valid=not rejections,
        rejections=tuple(rejections),
        started_at="unknown",
    )


def _not_in_the_log(said: ToolRun, found: Delegation) -> dict[str, str]:
    """Why figures are missing that this log, or any, does not hold."""
    never = "benchmark_model does not measure it"
    missing = {"power": never, "thermal": never, "started_at": "the log does not say when it was made"}
    for name, value in (("init_ms", said.init_ms), ("first_ms", said.first_ms)):
        if value is None:
            missing[name] = "the log does not say"
    if said.ops is None:
        missing["ops"] = "the log has no table of operations"
    if found.missing:
        missing["delegate"] = found.missing
    return missing


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); give a saved output of benchmark_model"
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES // 2**20} MB; cut out the part that benchmark_model printed")
    return data


def _runs(data: bytes) -> list[ToolRun]:
    """The complete runs in a log; PowerShell writes UTF-16 when it redirects."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    runs = [parse_run(lines) for lines in split_runs(data.decode(encoding, errors="replace"))]
    complete = [run for run in runs if run.timed is not None]
    if complete:
        return complete
    try:
        return [parse_result(data)]
    except RunnerError:
        return []


def _pick(path: Path, runs: list[ToolRun], number: int | None) -> ToolRun:
    if not runs:
        raise UsageError(f"{path}: no measurement of benchmark_model in it; looked for {SOUGHT}")
    if number is not None and not 1 <= number <= len(runs):
        raise UsageError(f"run {number}: {path} holds {len(runs)} measurement(s); count from 1")
    if number is None and len(runs) > 1:
        # The last one would be a guess: they may be of different models, threads or delegates.
        means = "; ".join(
            f"{i}: {run.graph or 'unknown model'}, {run.timed.mean:.4g} ms"
            for i, run in enumerate(runs[:20], start=1)
            if run.timed
        )
        raise UsageError(f"{path}: holds {len(runs)} measurements ({means}); say which with --run NUMBER")
    return runs[(number or 1) - 1]


def _artifact(said: ToolRun, model: Path | None, missing: dict[str, str]) -> ArtifactInfo:
    if model is not None:
        check_tflite(model)
        artifact, _ = describe(model)
        # The tool prints six digits of the size.
        if said.size_mb is not None and abs((artifact.size_bytes or 0) - said.size_mb * 1e6) > 5 + said.size_mb * 10:
            raise UsageError(
                f"{model}: has {artifact.size_bytes:,} bytes, the log is of a file of {said.size_mb:g} MB "
                "(10**6 bytes); give the file that was measured, or none"
            )
        return artifact
    why = "the log does not say; give the model file"
    missing |= {"artifact.sha256": why, "artifact.size_bytes": why, "artifact.precision": why}
    if said.size_mb is not None:
        missing["artifact.size_bytes"] = (
            f"the log gives {said.size_mb:g} MB (10**6 bytes), rounded; give the model file"
        )
    if said.graph is None:
        missing["artifact.path"] = why
    return ArtifactInfo(path=said.graph or "unknown", sha256=None, format="tflite", precision=None, size_bytes=None)


def _device(name: str | None, kind: DeviceKind, missing: dict[str, str]) -> DeviceInfo:
    why = "the log does not say"
    missing |= {"device.os": why, "device.abi": why}
    if name is None:
        missing["device.model"] = f"{why}; give the device's name"
    if kind == "unknown":
        missing["device.kind"] = f"{why}; give the kind of device"
    return DeviceInfo(id=name or "unknown", kind=kind, model=name or "unknown", os="unknown", abi="unknown")


def _wanted(said: ToolRun) -> tuple[Accelerator, Delegate | None]:
    """What was asked for, by the parameters and the delegates that the log names."""
    named = " ".join([*(verdict.delegate for verdict in said.verdicts), *(r.delegate for r in said.replacements)])
    if said.uses.get("gpu") or "gpu" in named.lower() or "LITERT_CL" in named:
        return "gpu", "gpu"
    if said.uses.get("nnapi") or "nnapi" in named.lower():
        return "npu", "nnapi"
    if "dispatch" in named.lower():  # LiteRT 2's way to an NPU
        return "npu", "npu"
    if "xnnpack" in said.uses:
        return "cpu", "xnnpack" if said.uses["xnnpack"] else "none"
    return "cpu", "xnnpack" if "xnnpack" in named.lower() else None


def _delegation(said: ToolRun) -> Delegation:
    accelerator, delegate = _wanted(said)
    if delegate is None:
        return Delegation(missing="the log names no delegate")
    if not said.replacements:  # how many operations the file has is not known here
        return Delegation(
            missing="the log does not say how many operations the delegate took", rejection=_verdict(said)
        )
    return delegation(said, delegate, asked=accelerator != "cpu", operations=0)


def _verdict(said: ToolRun) -> str | None:
    """Why the tool's own judgement speaks against a run; the last delegate that it applied counts."""
    last = said.verdicts[-1] if said.verdicts else None
    if last is None or last.how == "completely":
        return None
    return f"{'not' if last.how == 'not' else 'partially'} delegated: {last.delegate}, by the tool's log"


def _memory(said: ToolRun, missing: dict[str, str]) -> MemoryUse | None:
    if said.peak_mb is not None:
        return MemoryUse(peak_rss_mb=said.peak_mb, model_mb=said.overall_mb, method=MEMORY_METHOD)
    grew = "" if said.overall_mb is None else f", only that it grew by {said.overall_mb:.4g} MB since its start"
    missing["memory"] = f"the log does not say what the tool took at its peak{grew}"
    return None


def _spec(said: ToolRun, missing: dict[str, str]) -> BenchSpec:
    """The parameters that the log gives; the others are the schema's defaults, and say nothing."""
    accelerator, delegate = _wanted(said)
    told = {
        "warmup_runs": said.warmup_runs,
        "timed_runs": said.asked_runs or None,
        "min_seconds": said.asked_seconds,
        "threads": said.threads,
    }
    missing |= {
        f"spec.{name}": "the log does not say; the value is a default" for name, value in told.items() if value is None
    }
    known = {name: value for name, value in told.items() if value is not None}
    return BenchSpec.model_validate({**known, "accelerator": accelerator, "delegate": delegate})


def _latency(timed: RunAggregate, missing: dict[str, str]) -> LatencyStats:
    latency = LatencyStats(**timed.model_dump(), p90=None, p99=None, ci95=None, samples=None, processes=(timed.n,))
    reasons = {name: "this log's format does not print it" for name, value in latency if value is None}
    if "median" in reasons:
        reasons["median"] = "this log's format prints no median"
    if "ci95" in reasons:
        reasons["ci95"] = "one process: the spread over processes is not known"
    missing |= {f"latency_ms.{name}": reason for name, reason in reasons.items()}
    return latency
