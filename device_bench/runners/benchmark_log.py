"""What `benchmark_model`, the official TFLite and LiteRT tool, says in its log; pure parsers that never raise.

Three dialects, told apart by their lines (the tool prints no version):

    old      2018 and 2019: "Average inference timings in us: Warmup: ..., no stats: ...", a session in seconds
    tflite   since 2020: "count=... first=... avg=..." in microseconds, newer builds with p5, median and p95
    litert   LiteRT 2: the same lines, then "Inference (avg): 0.95 ms (1054 runs)" rounded to 0.01 ms

The first `count=` line of a run is the warm-up, the second the measurement; its standard deviation is cut to whole
microseconds. Sources: tflite/tools/benchmark/benchmark_model.cc, litert/tools/benchmark_litert_model.h and
stats_calculator.h in github.com/google-ai-edge/LiteRT, and logs that people published.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, ValidationError

from device_bench.device import RunAggregate
from device_bench.records import OpTime, Record
from device_bench.runners.benchmark_ops import parse_ops

Dialect = Literal["old", "tflite", "litert"]

MAX_LINE = 4000
_N = r"\d{1,15}(?:\.\d{1,15})?(?:e[+-]?\d{1,2})?"

_COUNT = re.compile(
    rf"\bcount=(?P<n>\d{{1,12}})(?: first=(?P<first>{_N}))?(?: curr=(?P<curr>{_N})(?:\(all same\))?)?"
    rf"(?: min=(?P<min>{_N}) max=(?P<max>{_N}) avg=(?P<avg>{_N}) std=(?P<std>\S{{1,40}}))?"
    rf"(?: p5=(?P<p5>{_N}) median=(?P<median>{_N}) p95=(?P<p95>{_N}))?"
)
_NO_RUN = re.compile(r"Timings \(microseconds\)|Memory \(bytes\)")  # summaries of the per-operation profile
_RUNNING = re.compile(rf"Running benchmark for (?:at least )?(\d{{1,9}}) iterations(?: and at least ({_N}) seconds)?")
_SESSION = re.compile(rf"Initialized session in ({_N})(ms|s)\b")
_VALUES = {
    "v2_init": re.compile(rf"Model initialization:\s+({_N}) ms"),
    "v2_first": re.compile(rf"Warmup \(first\):\s+({_N}) ms"),
    "v2_warmup": re.compile(rf"Warmup \(avg\):\s+({_N}) ms"),
    "v2_mean": re.compile(rf"Inference \(avg\):\s+({_N}) ms"),
    "v2_min": re.compile(rf"Inference \(min\):\s+({_N}) ms"),
    "v2_max": re.compile(rf"Inference \(max\):\s+({_N}) ms"),
    "v2_std": re.compile(rf"Inference \(std\):\s+({_N})"),
    "v2_runs": re.compile(r"Inference \(avg\):.* ms \((\d{1,12}) runs\)"),
    "v2_warmup_runs": re.compile(r"Warmup \(avg\):.* ms \((\d{1,12}) runs\)"),
    "init_us": re.compile(rf"nference timings in us:.*\bInit: ({_N})"),
    "init_mb": re.compile(rf"footprint(?: delta from the start of the tool)? \(MB\): init=({_N})"),
    "overall_mb": re.compile(rf"footprint(?: delta from the start of the tool)? \(MB\): .*\boverall=({_N})"),
    "peak_mb": re.compile(rf"(?:via periodic monitoring:|Peak memory:)\s+({_N})"),
    "v2_init_mb": re.compile(rf"Init footprint:\s+({_N}) MB"),
    "v2_overall_mb": re.compile(rf"Overall footprint:\s+({_N}) MB"),
    "size_mb": re.compile(rf"input model file size \(MB\): ({_N})"),
    "threads": re.compile(r"(?:Num threads|#threads used for CPU inference): \[(\d{1,4})\]"),
}
_GRAPH = re.compile(r"(?:\bGraph: \[(?P<a>.+)\]|Loaded model (?P<b>\S.*)|Loading model from: (?P<c>\S.*))$")
_USES = re.compile(r"Use (gpu|nnapi|xnnpack) ?: \[(\d)\]", re.IGNORECASE)
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags: (.*)$")
_VERDICT = re.compile(
    r"(?:(?P<took>[Aa]pplied)|Though) (?P<name>[\w .-]{1,60}?) delegate(?:,| is explicitly applied,)"
    r" (?:and )?the model graph will (?:be (?P<how>completely|partially)|not be) executed"
)
_KERNELS = re.compile(r"w/ (\d{1,6}) delegate kernels")
_REPLACING = re.compile(
    r"Replacing (\d{1,9}) out of (\d{1,9}) node\(s\) with delegate \(([^()]{1,80})\) node, "
    r"yielding (\d{1,9}) partitions(?: for (?:the whole graph|subgraph (\d{1,6})))?"
)
_STARTS = re.compile(r"STARTING!")
_STARTS_AFTER_A_RUN = re.compile(
    r"Log parameter values|\bNum runs: \[|Loaded model |Loading model from: |Initialized sess"
)


class Verdict(Record):
    """The tool's own judgement of a delegate that it applied."""

    delegate: str
    how: Literal["completely", "partially", "not"]
    kernels: int | None = None


class Replacement(Record):
    """What LiteRT says when a delegate takes operations; `partitions` counts the pieces that it leaves as well."""

    delegate: str
    nodes: int
    of: int
    partitions: int
    subgraph: int = 0


class ToolRun(Record):
    """One run of the tool; None is what its log does not say. Footprints are MB (2**20 bytes) of resident memory."""

    dialect: Dialect
    timed: RunAggregate | None = None
    first_ms: float | None = None
    """The first inference of all, a warm-up where there was one."""
    init_ms: float | None = None
    warmup_runs: int | None = None
    warmup_ms: float | None = None
    init_mb: float | None = None
    """Growth of the peak from the tool's start until the model was loaded."""
    overall_mb: float | None = None
    """Growth of the peak from the tool's start until its end."""
    peak_mb: float | None = None
    verdicts: tuple[Verdict, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    ops: tuple[OpTime, ...] | None = None
    unknown_flags: tuple[str, ...] = ()
    graph: str | None = None
    size_mb: float | None = None
    """Of the model file; MB are 10**6 bytes here."""
    threads: int | None = None
    uses: dict[str, bool] = Field(default_factory=dict)
    """What the log says of `gpu`, `nnapi` and `xnnpack`."""
    asked_runs: int | None = None
    asked_seconds: float | None = None


def split_runs(text: str) -> list[list[str]]:
    """The lines of each of the tool's runs in a log; what is none comes along with its neighbours."""
    runs: list[list[str]] = [[]]
    counts = 0
    for line in text.splitlines():
        counted = _counts(line)
        fresh = _STARTS.search(line) and runs[-1]
        after = (counts and _STARTS_AFTER_A_RUN.search(line)) or (counted and counts == 2)
        if fresh or after:
            runs.append([])
            counts = 0
        counts += counted
        runs[-1].append(line)
    return runs


def parse_run(lines: Iterable[str]) -> ToolRun:
    """What one run says; lines that say nothing are passed over."""
    lines = [line[:MAX_LINE] for line in lines]
    values: dict[str, float] = {}
    counts: list[re.Match[str]] = []
    running: list[tuple[int, float]] = []
    for line in lines:
        values.update({name: float(found[1]) for name, regex in _VALUES.items() if (found := regex.search(line))})
        if (found := _SESSION.search(line)) is not None:
            values["session_ms"] = float(found[1]) * (1 if found[2] == "ms" else 1000)
        if (found := _RUNNING.search(line)) is not None:
            running.append((int(found[1]), float(found[2] or 0)))
        if _counts(line) and (found := _COUNT.search(line)) is not None:
            counts.append(found)
    timed, warmup = _which(counts, values)
    return ToolRun(
        dialect=_dialect(lines),
        timed=_aggregate(timed) or _rounded(values),
        first_ms=_first_ms(warmup) or _positive(values.get("v2_first")) or _first_ms(timed),
        init_ms=_init_ms(values),
        warmup_runs=int(warmup["n"]) if warmup else _whole(values.get("v2_warmup_runs")),
        warmup_ms=_mean_ms(warmup) or values.get("v2_warmup"),
        init_mb=values.get("init_mb", values.get("v2_init_mb")),
        overall_mb=values.get("overall_mb", values.get("v2_overall_mb")),
        peak_mb=_positive(values.get("peak_mb")),
        verdicts=tuple(verdict for line in lines if (verdict := _verdict(line))),
        replacements=tuple(taken for line in lines if (taken := _replacement(line))),
        ops=parse_ops(lines),
        unknown_flags=tuple(flag for line in lines for flag in _unknown_flags(line)),
        graph=next((graph for line in lines if (graph := _graph(line))), None),
        size_mb=_positive(values.get("size_mb")),
        threads=_whole(_positive(values.get("threads"))),
        uses={found[1].lower(): found[2] != "0" for line in lines for found in _USES.finditer(line)},
        asked_runs=running[1][0] if len(running) > 1 else None,
        asked_seconds=running[1][1] if len(running) > 1 else None,
    )


def _counts(line: str) -> bool:
    return "count=" in line[:MAX_LINE] and not _NO_RUN.search(line[:MAX_LINE])


def _which(counts: list[re.Match[str]], values: dict[str, float]) -> tuple[re.Match[str] | None, re.Match[str] | None]:
    """(measurement, warm-up); a single line is the warm-up of a run that ended there."""
    if len(counts) < 2:
        return None, (counts[0] if counts else None)
    return counts[1], counts[0]


def _aggregate(line: re.Match[str] | None) -> RunAggregate | None:
    """From a `count=` line. Equal samples are printed once, and one sample is its own median."""
    if line is None or line["curr"] is None:
        return None
    same = {name: float(line["curr"]) for name in ("mean", "min", "max", "median", "p5", "p95")}
    if line["avg"] is None:
        return _valid(int(line["n"]), {**same, "std": 0.0}, 1e3)
    told = {"mean": line["avg"], **{name: line[name] for name in ("min", "max", "std", "median", "p5", "p95")}}
    return _valid(int(line["n"]), {name: _number(value) for name, value in told.items()}, 1e3)


def _rounded(values: dict[str, float]) -> RunAggregate | None:
    """From LiteRT 2's closing block, where the `count=` lines are lost (on Android they may go to the system log)."""
    told = {name: values.get(f"v2_{name}") for name in ("mean", "min", "max", "std")}
    return _valid(int(values.get("v2_runs", 0)), told, 1.0, slack=0.01)


def _valid(n: int, values: dict[str, float | None], per_ms: float, slack: float = 0.0) -> RunAggregate | None:
    """The aggregate, if its numbers can be true: averages are printed with six digits, or rounded to `slack` ms."""
    scaled = {name: None if value is None else value / per_ms for name, value in values.items()}
    try:
        run = RunAggregate.model_validate({"n": n, **scaled})
    except ValidationError:
        return None
    low, high = run.min * (1 - 1e-5) - slack, run.max * (1 + 1e-5) + slack
    inside = [value for value in (run.mean, run.median, run.p5, run.p95) if value is not None]
    return run if run.min <= run.max and all(low <= value <= high for value in inside) else None


def _first_ms(line: re.Match[str] | None) -> float | None:
    told = None if line is None or line["n"] == "0" else line["first"] or line["curr"]
    return None if told is None else _positive(float(told) / 1e3)


def _mean_ms(line: re.Match[str] | None) -> float | None:
    run = _aggregate(line)
    return run.mean if run else None


def _init_ms(values: dict[str, float]) -> float | None:
    """Microseconds where the log gives them, else what it prints in ms or s."""
    exact = values["init_us"] / 1e3 if "init_us" in values else None
    return _positive(exact) or _positive(values.get("session_ms")) or _positive(values.get("v2_init"))


def _dialect(lines: list[str]) -> Dialect:
    if any("benchmark_litert_model" in line or "BENCHMARK RESULTS" in line for line in lines):
        return "litert"
    return "old" if any("Average inference timings in us" in line for line in lines) else "tflite"


def _verdict(line: str) -> Verdict | None:
    found = _VERDICT.search(line)
    if found is None or bool(found["took"]) != bool(found["how"]):
        return None
    kernels = _KERNELS.search(line)
    how = found["how"] or "not"
    return Verdict.model_validate(
        {"delegate": found["name"], "how": how, "kernels": int(kernels[1]) if kernels else None}
    )


def _replacement(line: str) -> Replacement | None:
    found = _REPLACING.search(line)
    if found is None:
        return None
    nodes, of, name, partitions, subgraph = found.groups()
    return Replacement(
        delegate=name, nodes=int(nodes), of=int(of), partitions=int(partitions), subgraph=int(subgraph or 0)
    )


def _unknown_flags(line: str) -> list[str]:
    found = _UNKNOWN_FLAGS.search(line)
    return [word.partition("=")[0] for word in found[1].split() if word.startswith("--")] if found else []


def _graph(line: str) -> str | None:
    found = _GRAPH.search(line)
    return next((value for value in found.groups() if value), None) if found else None


def _number(text: str | None) -> float | None:
    """A number as C++ prints it; its `nan` and `-9.2e18` are none."""
    return float(text) if text is not None and re.fullmatch(_N, text) else None


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
