"""The summary table: which columns there are, and each row's cells with the reason of every dash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from device_bench.records import Measurement
from pipeline.intervals import wilson_interval
from pipeline.report.rows import Row
from pipeline.report.text import DASH, interval, number, one_line, percent, percent_interval, times

STATUS_WORDS = {
    "passed": "passed",
    "unchecked": "parity not checked",
    "unmeasured": "not measured",
    "rejected": "rejected",
    "failed": "failed parity",
}
MODELLED = ("batterystats", "modelled", "estimate")


@dataclass(frozen=True)
class Cell:
    """What a reader sees (`text`, and `detail` below it), the stored value, and the reason of a null or of a mark."""

    text: str
    detail: str = ""
    value: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Column:
    key: str
    title: str
    unit: str
    cell: Callable[[Row], Cell]
    numeric: bool = True


@dataclass
class Notes:
    """The reasons of the dashes, each once, numbered as they come."""

    texts: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> int:
        if reason not in self.texts:
            self.texts.append(reason)
        return self.texts.index(reason) + 1


def is_modelled(method: str) -> bool:
    """Whether a figure's method is a model (the maker's constants, a fitted table) rather than a measurement."""
    return any(word in method.lower() for word in MODELLED)


def method_words(method: str) -> str:
    return f"{method} (a model)" if is_modelled(method) else method


def _measured(read: Callable[[Measurement], Cell]) -> Callable[[Row], Cell]:
    """A cell of the measurement, or a dash with the reason that there is none."""

    def cell(row: Row) -> Cell:
        return _null(row.unmeasured_reason) if row.measurement is None else read(row.measurement)

    return cell


def _null(reason: str) -> Cell:
    return Cell(DASH, reason=one_line(reason) or "no reason was stored")


def _top1(row: Row) -> Cell:
    evaluation = row.artifact.evaluation if row.artifact else row.variant.record.evaluation
    if evaluation is None:
        return _null(_accuracy_reason(row))
    source = "" if row.artifact else f" {evaluation.split}, torch"
    return Cell(percent(evaluation.top1), percent_interval(evaluation.ci95) + source, evaluation.top1)


def _top5(row: Row) -> Cell:
    evaluation = row.artifact.evaluation if row.artifact else row.variant.record.evaluation
    if evaluation is None:
        return _null(_accuracy_reason(row))
    if evaluation.top5 is None:
        return _null("five classes or fewer: top-5 says nothing")
    bounds = wilson_interval(evaluation.top5, evaluation.n_images) if evaluation.n_images > 0 else None
    return Cell(percent(evaluation.top5), percent_interval(bounds), evaluation.top5)


def _accuracy_reason(row: Row) -> str:
    if row.artifact is None:
        return "fine-tuning has not run"
    return row.artifact.missing.get("evaluation", row.artifact.parity.reason or "the export stage gives no reason")


def _median(measurement: Measurement) -> Cell:
    stats = measurement.latency_ms
    detail = interval(stats.ci95) if stats.ci95 else "one process"
    mark = "; ".join(measurement.rejections) if measurement.believed else ""
    return Cell(number(stats.median), detail, stats.median, one_line(mark))


def _p95(measurement: Measurement) -> Cell:
    if measurement.latency_ms.p95 is None:
        return _null(f"p95: {measurement.missing['latency_ms.p95']}")
    return Cell(number(measurement.latency_ms.p95), value=measurement.latency_ms.p95)


def _fps(measurement: Measurement) -> Cell:
    if measurement.fps is None:
        return _null(f"FPS: {measurement.missing['fps']}")
    return Cell(number(measurement.fps), value=measurement.fps)


def _memory(measurement: Measurement) -> Cell:
    if measurement.memory is None:
        return _null(f"Memory: {measurement.missing['memory']}")
    return Cell(number(measurement.memory.peak_rss_mb), value=measurement.memory.peak_rss_mb)


def _energy(measurement: Measurement) -> Cell:
    power = measurement.power
    if power is None:
        return _null(f"Energy: {measurement.missing['power']}")
    method = "a model" if is_modelled(power.method) else ""
    return Cell(
        number(power.energy_per_inference_mj),
        f"{interval(power.ci95)} {method}".strip(),
        power.energy_per_inference_mj,
    )


def _size(row: Row) -> Cell:
    if row.artifact is None:
        return _null("not exported yet")
    return Cell(number(row.artifact.size_bytes / 1e6), value=row.artifact.size_bytes)


def _count(row: Row, value: int | None, name: str) -> Cell:
    if value is None:
        return _null(f"{name}: counted at export, which has not run")
    return Cell(
        number(value / 1e6), "not zero" if row.variant.record.weights and row.variant.record.sparsity else "", value
    )


def _speedup(row: Row) -> Cell:
    if row.speedup is None:
        # The reference needs no footnote: a dense row is what the others are compared with.
        return Cell("1 (ref.)") if row.variant.name == "dense" and row.ranked else _null(row.speedup_missing)
    detail = interval(row.speedup.ci95) if row.speedup.ci95 else "of medians"
    return Cell(times(row.speedup.factor), detail, row.speedup.factor)


def _device(row: Row) -> Cell:
    if row.measurement is None:
        return _null(row.unmeasured_reason)
    return Cell(row.measurement.device.kind, one_line(row.measurement.device.model, 40))


COLUMNS = (
    Column("variant", "Variant", "", lambda row: Cell(row.variant.name), numeric=False),
    Column("format", "Format", "", lambda row: Cell(row.artifact.format if row.artifact else DASH), numeric=False),
    Column("precision", "Precision", "", lambda row: Cell(row.artifact.precision if row.artifact else DASH), False),
    Column("status", "Checks", "", lambda row: Cell(STATUS_WORDS[row.status], "unstable" if row.marks else ""), False),
    Column("device", "Device", "kind", _device, numeric=False),
    Column("top1", "Top-1", "%", _top1),
    Column("top5", "Top-5", "%", _top5),
    Column("latency_median_ms", "Median", "ms", _measured(_median)),
    Column("latency_p95_ms", "p95", "ms", _measured(_p95)),
    Column("speedup", "Speed-up", "vs dense", _speedup),
    Column("fps", "FPS", "", _measured(_fps)),
    Column("peak_rss_mb", "Memory", "MB", _measured(_memory)),
    Column("energy_mj", "Energy", "mJ", _measured(_energy)),
    Column("size_bytes", "Size", "MB", _size),
    Column("params", "Params", "M", lambda row: _count(row, row.variant.record.params, "Parameters")),
    Column("macs", "MACs", "M", lambda row: _count(row, row.variant.record.macs, "MACs")),
)


def table_cells(rows: tuple[Row, ...]) -> tuple[list[list[tuple[Column, Cell, int | None]]], list[str]]:
    """Every row's cells, each dash and each mark with the number of its note, and the notes."""
    notes = Notes()
    cells = []
    for row in rows:
        line = []
        for column in COLUMNS:
            cell = column.cell(row)
            line.append((column, cell, notes.mark(cell.reason) if cell.reason else None))
        cells.append(line)
    return cells, notes.texts
