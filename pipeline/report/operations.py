"""Where an inference's time goes: dense against the others, operation by operation and block by block."""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_bench.op_match import OpChanges, is_one_piece, match_ops, unexplained_ms
from device_bench.records import OpTime
from pipeline.report.details import Grid
from pipeline.report.rows import Row
from pipeline.report.targets import primary_rows
from pipeline.report.text import MINUS, one_line, percent
from pipeline.report.verdict import headline_row

REST = "rest"
SHOWN = 15
MAX_BLOCKS = 30
ONE_PIECE = (
    "The runtime ran the whole network as one operation of a delegate, and its profile does not look inside: "
    "there is nothing to tell the layers apart by."
)


@dataclass(frozen=True)
class OperationTimes:
    """Times of the fp32 files on one device, in milliseconds of one inference."""

    device: str
    blocks: tuple[str, ...]
    """In the order of the dense network; the last is what has no block, and what lies beyond the operations."""
    block_ms: dict[str, tuple[float, ...]]
    """Of each variant, dense first."""
    changes: OpChanges
    """Dense against pruned."""


def operation_times(rows: tuple[Row, ...]) -> OperationTimes | str:
    """The profiles of the headline's device, or why there is nothing to show."""
    pruned = headline_row(rows)
    if pruned is None or pruned.measurement is None:
        return "Nothing pruned was measured."
    device = pruned.measurement.device
    here = [
        row
        for name in dict.fromkeys(row.variant.name for row in rows)
        for row in primary_rows(rows, name)
        if row.ranked and row.measurement and row.measurement.device.id == device.id
    ]
    profiles = {row.variant.name: row.measurement.ops for row in here if row.measurement and row.measurement.ops}
    dense_ops, pruned_ops = profiles.get("dense"), profiles.get("pruned")
    if dense_ops is None or pruned_ops is None:
        return _why_not(rows, device.id)
    if is_one_piece(dense_ops) or is_one_piece(pruned_ops):
        return ONE_PIECE
    blocks = _blocks(dense_ops, profiles)
    return OperationTimes(
        device=f"{device.model} ({device.kind})",
        blocks=blocks,
        block_ms={name: _sums(ops, blocks) for name, ops in profiles.items() if ops},
        changes=match_ops(dense_ops, pruned_ops),
    )


def _why_not(rows: tuple[Row, ...], device: str) -> str:
    reasons = []
    for name in ("dense", "pruned"):
        row = next((r for r in primary_rows(rows, name) if r.measurement and r.measurement.device.id == device), None)
        if row is None or row.measurement is None:
            reasons.append(f"{name}: not measured on this device")
        elif row.problems:
            reasons.append(f"{row.label}: {row.problems[0]}")
        elif row.measurement.ops is None:
            reasons.append(f"{row.label}: {row.measurement.missing['ops']}")
    return f"No times of single operations. {'; '.join(dict.fromkeys(reasons))}."


def block_of(op: OpTime) -> str:
    """The first two steps of a layer's path (`features.3`, `layer1.0`); an operation of no known layer is its type."""
    layer = op.name.partition(", then ")[0]
    if re.search(r"[\s\[\]]", layer) or not layer:
        return op.type
    return ".".join(re.split(r"[./]", layer.strip("/"))[:2])


def _blocks(dense: tuple[OpTime, ...], profiles: dict[str, tuple[OpTime, ...]]) -> tuple[str, ...]:
    every = dict.fromkeys(block_of(op) for ops in profiles.values() for op in ops)
    if len(every) > MAX_BLOCKS:
        cost = dict.fromkeys(every, 0.0)
        for op in dense:
            cost[block_of(op)] += op.mean_ms
        kept = set(sorted(cost, key=lambda block: -cost[block])[:MAX_BLOCKS])
        every = {block: None for block in every if block in kept}
    return (*every, REST)


def _sums(ops: tuple[OpTime, ...], blocks: tuple[str, ...]) -> tuple[float, ...]:
    """Milliseconds of each block."""
    sums = dict.fromkeys(blocks, 0.0)
    for op in ops:
        block = block_of(op)
        sums[block if block in sums else REST] += op.mean_ms
    sums[REST] += unexplained_ms(ops) or 0.0
    return tuple(sums.values())


def operations_grid(times: OperationTimes) -> Grid:
    """The operations that changed most from dense to pruned, and what has no partner."""
    changes = times.changes
    saved = sum(pair.baseline_ms - pair.candidate_ms for pair in changes.pairs)
    shown = changes.largest(SHOWN)
    left = len(changes.pairs) - len(shown)
    notes = [f"{left} more operations changed less, or not at all."] if left else []
    for variant, alone in (("dense", changes.baseline_only), ("pruned", changes.candidate_only)):
        if alone:
            named = ", ".join(f"{one_line(op.name, 60)} ({op_ms(op.mean_ms)} ms)" for op in alone[:SHOWN])
            more = f" and {len(alone) - SHOWN} more" if len(alone) > SHOWN else ""
            notes.append(f"Only in {variant}, with no partner in the other: {named}{more}.")
    return Grid(
        title="Operations that changed most, dense against pruned",
        align="lrrrrl",
        heads=("Layer", "Dense, ms", "Pruned, ms", "Change, ms", "Of all saved, %", "Run as"),
        rows=tuple(
            (
                one_line(pair.name, 60),
                op_ms(pair.baseline_ms),
                op_ms(pair.candidate_ms),
                signed_ms(pair.change_ms),
                percent(-pair.change_ms / saved if saved > 0 else None),
                one_line(pair.type, 60),
            )
            for pair in shown
        ),
        note=" ".join(notes),
    )


def op_ms(value: float) -> str:
    """Runtimes note whole microseconds: an operation of 0 is one of less."""
    return "<0.001" if value < 0.0005 else f"{value:,.3f}"


def signed_ms(value: float) -> str:
    return f"{value:+,.3f}".replace("-", MINUS)
