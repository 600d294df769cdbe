"""Where the time of an inference goes, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence

from device_bench.op_match import OpPair, is_one_piece, match_ops, unexplained_ms
from device_bench.records import ComparisonResult, Measurement, OpTime
from pipeline.terminal.tables import new_table, show

MOST_CHANGED = 15
"""Operations that a comparison lists."""


def print_ops(measurement: Measurement) -> None:
    """Where the time goes, the slowest operation first."""
    if measurement.ops is None:
        return
    table = new_table(("operation", "left"), ("type", "left"), ("ms", "right"), ("share", "right"))
    for op in sorted(measurement.ops, key=lambda op: -op.mean_ms):
        table.add_row(op.name, op.type, _op_ms(op.mean_ms), f"{op.share:.1%}")
    show(table)


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
    table = new_table(("operation", "left"), ("type", "left"), ("before", "right"), ("after", "right"), ("ms", "right"))
    for pair in shown:
        table.add_row(pair.name, pair.type, _op_ms(pair.baseline_ms), _op_ms(pair.candidate_ms), _change(pair))
    show(table)
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
