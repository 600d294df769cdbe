"""Results as tables for a terminal of 80 columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from rich.console import Console
from rich.table import Table

from device_bench.device import Missing
from device_bench.devices import DeviceListing
from device_bench.endurance import SustainedRun, ranks
from device_bench.noise_run import DeviceNoise
from device_bench.op_match import OpPair, is_one_piece, match_ops, unexplained_ms
from device_bench.records import AccuracyDifference, ComparisonResult, Measurement, NoiseFloor, OpTime, kind_of
from device_bench.selftest import SelfTest
from device_bench.tools import Fetched

SPARKS = 12
"""Characters that a rate over time takes."""

MOST_CHANGED = 15
"""Operations that a comparison lists."""


def print_measurements(measurements: Sequence[Measurement]) -> None:
    """One row for each model; below them why a figure is missing or a measurement was rejected."""
    table = _table(("model", "left"), ("median ms", "right"), ("95% interval", "right"), ("p95 ms", "right"))
    for heading in ("FPS", "peak MB", "energy mJ"):
        table.add_column(heading, justify="right")
    for m in measurements:
        interval = m.latency_ms.ci95
        table.add_row(
            Path(m.artifact.path).name + _mark(m),
            _number(m.latency_ms.median) if m.latency_ms.median is not None else f"mean {m.latency_ms.mean:.4g}",
            f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else "-",
            _number(m.latency_ms.p95),
            _number(m.fps),
            f"{m.memory.peak_rss_mb:.1f}" if m.memory else "-",
            f"{m.power.energy_per_inference_mj:.3g}" if m.power else "-",
        )
    _print(table)
    first = measurements[0]
    print(f"device: {first.device.id} ({first.device.kind}), {first.device.model}, {first.device.os}")
    print(f"runtime: {first.runtime.name} {first.runtime.version}, {first.spec.threads} thread(s)")
    for line in _reasons(measurements):
        print(line)
    _print_judgement([Path(m.artifact.path).name for m in measurements], measurements)


def _mark(measurement: Measurement) -> str:
    return "" if measurement.valid else " unstable" if measurement.believed else " REJECTED"


def _print_judgement(names: Sequence[str], measurements: Sequence[Measurement]) -> None:
    """How many processes each took, those that were repeated and why, and what speaks against its figures."""
    counts: dict[str, list[str]] = {}
    for name, m in zip(names, measurements, strict=True):
        if m.believed:
            counts.setdefault(_counted(m), []).append(name)
    for count, counted in counts.items():
        print(_folded(count if len(counted) == len(names) else f"{', '.join(counted)}: {count}"))
    for name, m in zip(names, measurements, strict=True):
        for rejection in m.rejections:
            print(_folded(f"{name}: {rejection}" if m.believed else f"rejected: {name}: {rejection}"))


def _counted(measurement: Measurement) -> str:
    kept, repeated = len(measurement.latency_ms.processes), len(measurement.rejected)
    count = _processes(kept)
    if not repeated:
        return count
    why = dict.fromkeys(kind_of(reason) for process in measurement.rejected for reason in process.reasons)
    return f"{count}, {repeated} repeated: {', '.join(why)}"


def _reasons(measurements: Sequence[Measurement] | Sequence[SustainedRun]) -> list[str]:
    """Why figures are missing, those of one reason on one line."""
    names: dict[str, dict[str, None]] = {}
    for measurement in measurements:
        for name, why in measurement.missing.items():
            names.setdefault(why, {})[name] = None
    return sorted(f"no {', '.join(these)}: {why}" for why, these in names.items())


def print_comparisons(result: ComparisonResult, names: Sequence[str]) -> None:
    """One row for each candidate; below it how accurate each is, or why that is not known.

    Args:
        names: what the files are called, the baseline first.
    """
    table = _table(("candidate", "left"), ("ratio", "right"), ("95% interval", "right"), ("verdict", "left"))
    table.add_column("top-1, points", justify="right")
    for name, c in zip(names[1:], result.comparisons, strict=True):
        points = f"{100 * c.accuracy.difference:+.1f}, {c.accuracy.verdict}" if c.accuracy else "-"
        table.add_row(name, f"{c.ratio:.3f}", f"{c.ci95[0]:.3f} to {c.ci95[1]:.3f}", c.verdict, points)
    _print(table)
    baseline = result.measurements[0]
    print(f"baseline: {names[0]}, {baseline.median_ms:.4g} ms")
    print(f"noise floor of this sitting: {result.comparisons[0].noise_floor:.1%}")
    print_device_noise(result.device_noise or Missing(reason=result.missing["device_noise"]))
    print(f"device: {baseline.device.id} ({baseline.device.kind}), {baseline.device.model}")
    for name, c in zip(names[1:], result.comparisons, strict=True):
        said = _accuracy(c.accuracy) if c.accuracy else _folded(f"not compared\n{c.missing['accuracy']}")
        print(f"accuracy of {name}: {said}")
    _print_judgement(names, result.measurements)


def print_device_noise(known: NoiseFloor | Missing) -> None:
    if isinstance(known, Missing):
        said = f"not known: {known.reason}"
    else:
        said = f"{_floor(known)} with {_processes(known.processes)}; {_learned(known)}"
    print(_folded(f"noise floor of this device: {said}"))


def print_noise(noise: DeviceNoise) -> None:
    """What can be seen on a device, by how many processes; below it what that was learned from."""
    if noise.floors:
        table = _table(("processes", "right"), ("noise floor", "right"), ("95% interval", "right"))
        table.add_column("found in 90%", justify="right")
        for one in noise.floors:
            low, high = one.ci95
            table.add_row(f"{one.processes}", _floor(one), f"{low:.1%} to {high:.1%}", f"{one.visible:.1%}")
        _print(table)
        told = {one.processes: _floor(one) for one in noise.floors}
        print(f"differences below {told[3]} cannot be told here with 3 processes, below {told[5]} with 5")
        print(_folded(_learned(noise.floors[0])))
    else:
        print(_folded(f"noise floor not known: {noise.missing['floors']}"))
    called = sum(verdict != "inconclusive" for verdict in noise.verdicts)
    print(f"now: {len(noise.verdicts)} comparisons of a file with itself, {called} found a difference")
    print(f"device: {noise.device.id} ({noise.device.kind}), {noise.device.model}, {noise.device.os}")
    print(f"runtime: {noise.runtime.name} {noise.runtime.version}, {noise.spec.threads} thread(s)")
    for rejection in noise.rejections:
        print(_folded(f"rejected: {rejection}"))


def _floor(known: NoiseFloor) -> str:
    return f"{known.floor:.1%}"


def _learned(known: NoiseFloor) -> str:
    low, high = (f"{ms:.2g}" for ms in known.models_ms)
    span = f"{low} ms" if low == high else f"{low} to {high} ms"
    return (
        f"learned from {_processes(known.n)} in {known.sittings} sitting(s) since {known.period[0][:10]}, "
        f"models of {span}"
    )


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _folded(text: str) -> str:
    """Lines of at most 80 columns, all but the first indented."""
    return "\n".join(fill(line, 80, initial_indent="  ", subsequent_indent="  ") for line in text.splitlines()).lstrip()


def _accuracy(found: AccuracyDifference) -> str:
    low, high = (100 * bound for bound in found.ci95)
    gained = f"{100 * found.difference:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}"
    return _folded(
        f"{found.candidate_top1:.1%}, baseline {found.baseline_top1:.1%}, of {found.n} {found.split} images\n"
        f"{gained}, McNemar p {found.p_value:.2g};\n"
        f"only one right: {found.discordant[0]} the baseline, {found.discordant[1]} this"
    )


def print_sustained(runs: Sequence[SustainedRun]) -> None:
    """One row for each model: its rate at the beginning and at the end, what heated, and how the rate went."""
    table = _table(("model", "left"), ("cold FPS", "right"), ("sustained", "right"), ("drop", "right"), ("C", "right"))
    table.add_column("MHz", justify="right")
    table.add_column("rank", justify="right")
    table.add_column("over time", no_wrap=True)
    places = zip(ranks([run.cold_fps for run in runs]), ranks([run.sustained_fps for run in runs]), strict=True)
    for run, (cold, held) in zip(runs, places, strict=True):
        table.add_row(
            Path(run.artifact.path).name + (" REJECTED" if run.rejections else ""),
            _number(run.cold_fps),
            _number(run.sustained_fps),
            "-" if run.drop is None else f"{run.drop:.1%}",
            _span(run.start_c, run.windows[-1].temperature_c, "{:.0f}"),
            _span(run.windows[0].freq_mhz, run.windows[-1].freq_mhz, "{:.0f}"),
            f"{cold}, {held or '-'}" if len(runs) > 1 else "-",
            _sparkline([window.fps for window in run.windows]),
        )
    _print(table)
    first = runs[0]
    print("cold: the first window; sustained: the last third of the time")
    print("C, MHz: at the beginning and at the end; rank: cold, sustained")
    print(f"device: {first.device.id} ({first.device.kind}), {first.device.model}, {first.device.os}")
    print(f"load: {first.minutes:g} minutes each; {first.method}")
    for line in _reasons(runs):
        print(line)
    for run in runs:
        name, length_s = Path(run.artifact.path).name, run.windows[-1].end_s
        if run.throttled:
            print(f"throttled: {name}")
        if run.idle_s > 0.01 * length_s:
            print(f"idle: {name}: {run.idle_s:.3g} of {length_s:.3g} s went by between the windows")
        for rejection in run.rejections:
            print(f"rejected: {name}: {rejection}")


def _span(first: float | None, last: float | None, form: str) -> str:
    return "-" if first is None or last is None else f"{form.format(first)}-{form.format(last)}"


def _sparkline(values: Sequence[float]) -> str:
    """The values as bars from 0 up, at most `SPARKS` of them, each the mean of its share."""
    count = min(SPARKS, len(values))
    parts = [values[len(values) * i // count : len(values) * (i + 1) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    bars = "▁▂▃▄▅▆▇█" if (sys.stdout.encoding or "").lower().startswith("utf") else "_.:-=+*#"
    return "".join(bars[min(len(bars) - 1, int(len(bars) * mean / max(means)))] for mean in means)


def print_devices(listings: Sequence[DeviceListing]) -> None:
    """What can be used as a table; below it what cannot, with the reason."""
    columns = (("kind", "left"), ("model, system", "left"), ("battery", "right"), ("C", "right"), ("runner", "left"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("device", no_wrap=True, overflow="ignore")  # people copy it
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for listing in listings:
        if listing.info is not None:
            info, battery = listing.info, listing.battery_percent
            table.add_row(
                listing.spec,
                info.kind,
                f"{info.model}, {info.os}, {info.abi}",
                "-" if battery is None else f"{battery}%",
                "-" if listing.temperature_c is None else f"{listing.temperature_c:.0f}",
                listing.runner or "none",
            )
    _print(table)
    for listing in listings:
        if listing.info is None:
            print(f"unreachable: {listing.spec}: {listing.reason}")


def print_selftest(result: SelfTest) -> None:
    info = result.device
    print(f"{result.device_spec}: {info.model}, {info.os}, {info.abi} ({info.kind})")
    table = _table(("trial", "left"), ("outcome", "left"), ("what was seen", "left"))
    for trial in result.trials:
        table.add_row(trial.name, trial.outcome, trial.detail)
    _print(table)


def print_ops(measurement: Measurement) -> None:
    """Where the time goes, the slowest operation first."""
    if measurement.ops is None:
        return
    table = _table(("operation", "left"), ("type", "left"), ("ms", "right"), ("share", "right"))
    for op in sorted(measurement.ops, key=lambda op: -op.mean_ms):
        table.add_row(op.name, op.type, _op_ms(op.mean_ms), f"{op.share:.1%}")
    _print(table)


def print_op_changes(result: ComparisonResult, names: Sequence[str]) -> None:
    """Where the time of each candidate went, against the baseline: the operations that changed most.

    Args:
        names: what the files are called, the baseline first.
    """
    before, *candidates = result.measurements
    for name, after in zip(names[1:], candidates, strict=True):
        print(f"\noperations: {name} against {names[0]}")
        for called, measured in ((names[0], before), (name, after)):
            if measured.ops is None:
                print(f"no times of operations: {called}: {measured.missing['ops']}")
        if before.ops is not None and after.ops is not None:
            _print_changes(before.ops, after.ops, (names[0], name))


def _print_changes(before: Sequence[OpTime], after: Sequence[OpTime], names: Sequence[str]) -> None:
    changes = match_ops(before, after)
    shown = changes.largest(MOST_CHANGED)
    table = _table(("operation", "left"), ("type", "left"), ("before", "right"), ("after", "right"), ("ms", "right"))
    for pair in shown:
        table.add_row(pair.name, pair.type, _op_ms(pair.baseline_ms), _op_ms(pair.candidate_ms), _change(pair))
    _print(table)
    rest = len(changes.pairs) - len(shown)
    if rest:
        print(f"{rest} more operations changed less, or not at all")
    for name, ops, alone in ((names[0], before, changes.baseline_only), (names[1], after, changes.candidate_only)):
        beyond = unexplained_ms(ops)
        told = f"; beyond them {beyond:.3f} ms of an inference" if beyond is not None else ""
        print(f"{name}: {len(ops)} operations, {sum(op.mean_ms for op in ops):.3f} ms{told}")
        if alone:
            listed = ", ".join(f"{op.name} ({_op_ms(op.mean_ms)} ms)" for op in alone[:MOST_CHANGED])
            print(f"only there: {listed}" + (f" and {len(alone) - MOST_CHANGED} more" * (len(alone) > MOST_CHANGED)))
        if is_one_piece(ops):
            print(f"{name}: a delegate ran the network in one piece, and this profile does not see its layers")


def _change(pair: OpPair) -> str:
    return f"{pair.change_ms:+.3f}"


def _op_ms(value: float) -> str:
    """Times of operations come in whole microseconds: one of 0 is one of less."""
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def print_tools(fetched: Sequence[Fetched]) -> None:
    for tool in fetched:
        print(f"{tool.abi}: {tool.path}\n  sha256 {tool.locked.sha256}, pinned by the {tool.locked.pinned_by}")
        if tool.note:
            print(f"  {tool.note}")


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def _print(table: Table) -> None:
    Console(highlight=False).print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
