"""The per-operation tables of `benchmark_model` (`--enable_op_profiling=true`, LiteRT 2: `--use_profiler=true`).

The table "Run Order" of the inferences counts, not that of the initialization before it. Columns are found by their
titles, as old builds have one more (`[start]`). The table's figures follow tensorflow/core/util/stats_calculator.cc:
the average is that of one call, and the share that of all calls of an inference.

A delegate is one row there. TFLite's tool since 2022 lists XNNPACK's own operations in a second table, "Delegate
internal" (tflite/profiling/profile_summary_formatter.cc), with no flag of its own; LiteRT 2 lists them in the first.
Where the network has one piece on the delegate, its operations stand in its row's place. Those of several pieces are
not told apart there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from device_bench.records import OpTime

_REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs"
_INSIDE = re.compile(r"(?:^|: )Delegate internal:\s*$")
_TITLE = re.compile(r"\[[^\[\]]+\]")
_CSV_TITLES = re.compile(r"node type, (start, )?first, avg_ms, %, cdf%, mem KB, times called, name\s*$")
_F = r"-?\d{1,15}(?:\.\d{1,15})?(?:e[+-]?\d{1,3})?"
_CSV_ROW = re.compile(
    rf"^(?P<type>.{{1,400}}?), (?:{_F}, )?{_F}, (?P<avg>{_F}), (?P<share>{_F})%, {_F}%, {_F}, (?P<calls>\d{{1,9}}), "
    r"(?P<name>.{0,1000})$"
)
_AVERAGE, _SHARE, _CALLS, _NAME = "[avg ms]", "[%]", "[times called]", "[Name]"
_ONCE = ("AllocateTensors", "ModifyGraphWithDelegate")  # part of the initialization, which LiteRT 2 lists as well
MAX_OPS = 100_000


def parse_ops(lines: Sequence[str]) -> tuple[OpTime, ...] | None:
    """Time of each operation in one inference, in the order in which they run; None where no table is there."""
    start = next((i for i, line in enumerate(lines) if _REGULAR in line), 0)
    inside = next((i for i in range(start, len(lines)) if _INSIDE.search(lines[i])), len(lines))
    ops = _first_table(lines[start:inside])
    return ops and _opened(ops, _first_table(lines[inside:]))


def _opened(ops: tuple[OpTime, ...], inner: tuple[OpTime, ...] | None) -> tuple[OpTime, ...]:
    """The operations with the delegate's own in its place, where it is there once; their shares are of an inference."""
    places = [i for i, op in enumerate(ops) if op.type.endswith("Delegate")]
    if inner is None or len(places) != 1:
        return ops
    place = places[0]
    delegate_ms, inner_ms = ops[place].mean_ms, sum(op.mean_ms for op in inner)
    # Shares of the second table are of what it adds up to, and its times are cut to whole microseconds.
    part = ops[place].share * (min(1.0, inner_ms / delegate_ms) if delegate_ms > 0 else 1.0)
    opened = [op.model_copy(update={"share": op.share * part}) for op in inner]
    return (*ops[:place], *opened, *ops[place + 1 :])


def _first_table(lines: Sequence[str]) -> tuple[OpTime, ...] | None:
    for i in range(len(lines)):
        if "[node type]" in lines[i]:
            return _read_table(_TITLE.findall(lines[i]), lines[i + 1 :])
        if _CSV_TITLES.search(lines[i]):
            return _read_csv(lines[i + 1 :])
    return None


def _read_table(titles: list[str], lines: Sequence[str]) -> tuple[OpTime, ...] | None:
    if not {_AVERAGE, _SHARE, _CALLS, _NAME} <= set(titles):
        return None
    ops = []
    for line in lines[:MAX_OPS]:
        # Tabs between the columns; what was copied from a terminal has blanks.
        cells = line.strip().split("\t") if "\t" in line.strip() else re.split(r" {2,}", line.strip())
        if len(cells) != len(titles):
            break
        row = dict(zip(titles, (cell.strip() for cell in cells), strict=True))
        op = _op(cells[0].strip(), row[_NAME], row[_AVERAGE], row[_SHARE].removesuffix("%"), row[_CALLS])
        if op is None:
            break
        ops.append(op)
    return _of_an_inference(ops)


def _read_csv(lines: Sequence[str]) -> tuple[OpTime, ...] | None:
    ops = []
    for line in lines[:MAX_OPS]:
        row = _CSV_ROW.match(line.strip())  # nothing is quoted, and types such as "Convolution (NHWC, F32)" have commas
        op = _op(row["type"].strip(), row["name"].strip(), row["avg"], row["share"], row["calls"]) if row else None
        if op is None:
            break
        ops.append(op)
    return _of_an_inference(ops)


def _op(kind: str, name: str, average: str, share: str, calls: str) -> OpTime | None:
    if not (re.fullmatch(_F, average) and re.fullmatch(_F, share) and re.fullmatch(r"\d{1,9}", calls)):
        return None
    mean_ms, part = float(average) * max(1, int(calls)), float(share) / 100
    return OpTime(name=name, type=kind, mean_ms=mean_ms, share=part) if mean_ms >= 0 and 0 <= part <= 1.01 else None


def _of_an_inference(ops: list[OpTime]) -> tuple[OpTime, ...] | None:
    return tuple(op for op in ops if op.type not in _ONCE) or None
