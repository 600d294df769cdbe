"""Where every figure comes from: run, machine, devices, files, and the versions of what made them."""

from __future__ import annotations

from typing import Any

from device_bench.records import BenchSpec, Measurement
from pipeline.config import PruningSection
from pipeline.report.details import Grid
from pipeline.report.results import Results
from pipeline.report.rows import Row
from pipeline.report.text import DASH, number, one_line, percent


def provenance(results: Results, rows: tuple[Row, ...]) -> dict[str, Any]:
    manifest, config = results.manifest, results.config
    run = (
        ("Run", manifest.run),
        ("Started", manifest.started_at or DASH),
        ("Seed", DASH if manifest.seed is None else str(manifest.seed)),
        ("Git commit", manifest.git_commit or f"{DASH} not run from a git checkout"),
        ("Network", f"{config.model.name}, weights: {config.model.weights or 'trained in this run'}"),
        ("Data", f"{config.data.name} at {config.data.image_size} px"),
        _pruning(config.pruning),
        *((f"Machine: {key}", one_line(str(value))) for key, value in manifest.machine.items()),
    )
    versions = tuple(
        (str(key), one_line(str(value)) if value is not None else f"{DASH} not installed")
        for key, value in manifest.versions.items()
    )
    return {"run": run, "versions": versions, "grids": [grid for grid in (_devices(rows), _files(rows)) if grid.rows]}


def _pruning(settings: PruningSection) -> tuple[str, str]:
    if settings.kind == "channels":
        return "Importance, rounding", f"{settings.importance}, multiples of {settings.round_to}"
    least = "multiples of the layer's standard deviation" if settings.threshold == "sigma" else "shares of the layer"
    return "Weights that go", f"the smallest, by {least}"


def _devices(rows: tuple[Row, ...]) -> Grid:
    lines = dict.fromkeys(_device_line(row.measurement) for row in rows if row.measurement)
    heads = ("Device", "Kind", "Identity", "System, ABI, SoC", "Runtime", "Runner", "Runner SHA-256", "Specification")
    return Grid("Devices and runtimes", "lllllccl", heads, tuple(lines))


def _device_line(measurement: Measurement) -> tuple[str, ...]:
    device, runtime = measurement.device, measurement.runtime
    return (
        device.model,
        device.kind,
        device.id,
        ", ".join(part for part in (device.os, device.abi, device.soc) if part),
        f"{runtime.name} {runtime.version}",
        runtime.runner,
        (runtime.runner_sha256 or DASH)[:16],
        _spec_words(measurement.spec),
    )


def _spec_words(spec: BenchSpec) -> str:
    pinned = f", CPUs {', '.join(map(str, spec.affinity))}" if spec.affinity else ""
    loop = f"{spec.warmup_runs} warm-up, at least {spec.timed_runs} runs and {number(spec.min_seconds)} s"
    threads = f"{spec.threads} thread{'s' if spec.threads > 1 else ''}"
    return f"{spec.processes} \u00d7 ({loop}), {threads}, {spec.accelerator}{pinned}"


def _files(rows: tuple[Row, ...]) -> Grid:
    heads = (
        "File",
        "SHA-256",
        "Bytes",
        "Parity by",
        "Largest relative error",
        "Top-1 agreement, %",
        "Images",
        "Parity",
    )
    lines = {
        row.artifact.path: (
            row.artifact.path,
            row.artifact.sha256,
            f"{row.artifact.size_bytes:,}",
            row.artifact.parity.method or DASH,
            number(row.artifact.parity.max_rel_error, 2),
            percent(row.artifact.parity.top1_agreement),
            f"{row.artifact.parity.n:,}" if row.artifact.parity.method else DASH,
            _parity_words(row.artifact.parity.passed, row.artifact.parity.reason),
        )
        for row in rows
        if row.artifact
    }
    return Grid("Exported files", "ccrlrrrl", heads, tuple(lines.values()))


def _parity_words(passed: bool | None, reason: str | None) -> str:
    word = {True: "passed", False: "failed", None: "not checked"}[passed]
    return f"{word}: {one_line(reason)}" if reason else word
