"""Measurements and comparisons: the figures, how many processes they took, and what speaks against them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from device_bench.device import Missing
from device_bench.records import AccuracyDifference, ComparisonResult, Measurement, SparseUse, kind_of
from pipeline.terminal.noise import print_device_noise
from pipeline.terminal.tables import folded, new_table, number, processes, reasons, show


def print_measurements(measurements: Sequence[Measurement]) -> None:
    """One row for each model; below them why a figure is missing or a measurement was rejected."""
    table = new_table(("model", "left"), ("median ms", "right"), ("95% interval", "right"), ("p95 ms", "right"))
    for heading in ("FPS", "peak MB", "energy mJ"):
        table.add_column(heading, justify="right")
    for m in measurements:
        interval = m.latency_ms.ci95
        table.add_row(
            Path(m.artifact.path).name + _mark(m),
            number(m.latency_ms.median) if m.latency_ms.median is not None else f"mean {m.latency_ms.mean:.4g}",
            f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else "-",
            number(m.latency_ms.p95),
            number(m.fps),
            f"{m.memory.peak_rss_mb:.1f}" if m.memory else "-",
            f"{m.power.energy_per_inference_mj:.3g}" if m.power else "-",
        )
    show(table)
    first = measurements[0]
    print(f"device: {first.device.id} ({first.device.kind}), {first.device.model}, {first.device.os}")
    print(f"runtime: {first.runtime.name} {first.runtime.version}, {first.spec.threads} thread(s)")
    for line in reasons(measurements):
        print(line)
    print_judgement([Path(m.artifact.path).name for m in measurements], measurements)


def _mark(measurement: Measurement) -> str:
    return "" if measurement.valid else " unstable" if measurement.believed else " REJECTED"


def print_judgement(names: Sequence[str], measurements: Sequence[Measurement]) -> None:
    """How many processes each took, those that were repeated and why, and what speaks against its figures."""
    counts: dict[str, list[str]] = {}
    for name, m in zip(names, measurements, strict=True):
        if m.believed:
            counts.setdefault(_counted(m), []).append(name)
    for count, counted in counts.items():
        print(folded(count if len(counted) == len(names) else f"{', '.join(counted)}: {count}"))
    for name, m in zip(names, measurements, strict=True):
        if m.sparse is not None:
            print(folded(f"{name}: {_sparse(m.sparse, m.missing)}"))
    for name, m in zip(names, measurements, strict=True):
        for rejection in m.rejections:
            print(folded(f"{name}: {rejection}" if m.believed else f"rejected: {name}: {rejection}"))


def _sparse(use: SparseUse, missing: dict[str, str]) -> str:
    held = f"{use.stored} weight tensors held without their zeros"
    if use.kernels is None:
        return f"{held}; whether sparse mode engaged is not known: {missing['sparse.kernels']}"
    if not use.kernels:
        return f"{held}; sparse mode did not engage: they were unpacked, and the zeros computed with"
    return f"{held}; sparse mode engaged: {use.kernels} operations ran on sparse kernels"


def _counted(measurement: Measurement) -> str:
    kept, repeated = len(measurement.latency_ms.processes), len(measurement.rejected)
    count = processes(kept)
    if not repeated:
        return count
    why = dict.fromkeys(kind_of(reason) for process in measurement.rejected for reason in process.reasons)
    return f"{count}, {repeated} repeated: {', '.join(why)}"


def print_comparisons(result: ComparisonResult, names: Sequence[str]) -> None:
    """One row for each candidate; below it how accurate each is, or why that is not known.

    Args:
        names: what the files are called, the baseline first.
    """
    table = new_table(("candidate", "left"), ("ratio", "right"), ("95% interval", "right"), ("verdict", "left"))
    table.add_column("top-1, points", justify="right")
    for name, c in zip(names[1:], result.comparisons, strict=True):
        points = f"{100 * c.accuracy.difference:+.1f}, {c.accuracy.verdict}" if c.accuracy else "-"
        table.add_row(name, f"{c.ratio:.3f}", f"{c.ci95[0]:.3f} to {c.ci95[1]:.3f}", c.verdict, points)
    show(table)
    baseline = result.measurements[0]
    print(f"baseline: {names[0]}, {baseline.median_ms:.4g} ms")
    print(f"noise floor of this sitting: {result.comparisons[0].noise_floor:.1%}")
    print_device_noise(result.device_noise or Missing(reason=result.missing["device_noise"]))
    print(f"device: {baseline.device.id} ({baseline.device.kind}), {baseline.device.model}")
    for name, c in zip(names[1:], result.comparisons, strict=True):
        said = _accuracy(c.accuracy) if c.accuracy else folded(f"not compared\n{c.missing['accuracy']}")
        print(f"accuracy of {name}: {said}")
    print_judgement(names, result.measurements)


def _accuracy(found: AccuracyDifference) -> str:
    low, high = (100 * bound for bound in found.ci95)
    gained = f"{100 * found.difference:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}"
    return folded(
        f"{found.candidate_top1:.1%}, baseline {found.baseline_top1:.1%}, of {found.n} {found.split} images\n"
        f"{gained}, McNemar p {found.p_value:.2g};\n"
        f"only one right: {found.discordant[0]} the baseline, {found.discordant[1]} this"
    )
