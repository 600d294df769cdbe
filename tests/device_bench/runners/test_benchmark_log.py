"""The logs in `logs/` have the official shape, after published ones and the tool's source; the numbers are made up."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import RunAggregate
from device_bench.runners.benchmark_log import ToolRun, parse_run, split_runs

LOGS = Path(__file__).parent / "logs"


def near(run: RunAggregate | None, **expected: float) -> bool:
    """Microseconds through 1,000 are not always the nearest number of milliseconds."""
    told = {} if run is None else run.model_dump(exclude_none=True)
    return told == pytest.approx(expected)


def log(name: str) -> ToolRun:
    return parse_run((LOGS / name).read_text().splitlines())


def test_a_log_of_tflite():
    run = log("tflite.txt")
    assert run.dialect == "tflite"
    assert near(run.timed, n=1061, mean=56.2658, min=54.669, max=60.236, std=0.982)
    assert (run.init_ms, run.first_ms, run.warmup_runs, run.warmup_ms) == (3.337, 81.913, 9, 58.9847)
    assert (run.init_mb, run.overall_mb, run.peak_mb, run.size_mb) == (2.43359, 8.67578, 13.1797, 13.9782)
    assert (run.graph, run.threads) == ("/data/local/tmp/my models/tiny.tflite", 2)
    assert (run.asked_runs, run.asked_seconds) == (50, 1.0)
    assert run.uses == {"xnnpack": True}
    assert [(verdict.delegate, verdict.how) for verdict in run.verdicts] == [("XNNPACK", "completely")]
    assert run.ops is None


def test_a_log_of_litert_2_takes_the_exact_lines_before_the_rounded_ones():
    run = log("litert.txt")
    assert run.dialect == "litert"
    assert near(run.timed, n=1054, mean=0.947132, min=0.91, max=1.102, std=0.023, p5=0.915, median=0.942, p95=0.991)
    assert (run.init_ms, run.first_ms, run.warmup_runs) == (5.757, 2.125, 526)
    assert (run.init_mb, run.overall_mb, run.peak_mb) == (4.06, 5.25, 427.64)
    assert run.unknown_flags == ("--use_xnnpack", "--input_layer")
    assert run.graph == "/data/local/tmp/tiny.tflite"


def test_without_the_exact_lines_litert_2s_rounded_ones_serve():
    lines = [line for line in (LOGS / "litert.txt").read_text().splitlines() if "count=" not in line]
    run = parse_run(line for line in lines if "session" not in line)
    assert near(run.timed, n=1054, mean=0.95, min=0.91, max=1.1, std=0.02)
    assert (run.init_ms, run.first_ms, run.warmup_runs, run.warmup_ms) == (5.76, 2.12, 526, 0.95)


def test_a_log_of_2018():
    run = log("old.txt")
    assert run.dialect == "old"
    assert near(run.timed, n=200, mean=137.722, min=137.079, max=143.416, std=0.896)
    assert (run.init_ms, run.first_ms, run.warmup_runs) == (26.82, 146.161, 1)
    assert (run.asked_runs, run.asked_seconds) == (200, 0.0)
    assert run.ops is not None
    assert [(op.type, op.mean_ms, round(op.share, 5)) for op in run.ops] == [
        ("CONV_2D", 7.237, 0.06297),
        ("DEPTHWISE_CONV_2D", 7.452, 0.03243),  # two calls of 3.726 ms
    ]


def test_the_table_of_the_inferences_counts_and_not_that_of_the_initialization():
    run = log("profiled.txt")
    assert run.ops is not None
    assert [(op.type, op.name, op.mean_ms) for op in run.ops] == [
        ("TfLiteXNNPackDelegate", "[Identity]:65", 54.2),
        ("SOFTMAX", "[out]:64", 0.2),
    ]


def test_litert_2s_table_lists_the_initialization_too_which_is_no_part_of_an_inference():
    ops = log("litert_ops.txt").ops
    assert ops is not None
    assert [op.type for op in ops] == ["LiteRT::Run[buffer registration]", "Fully Connected (NC, PF32) GEMM"]


def test_what_a_delegate_ran_inside_stands_in_its_place():
    """In the form of tflite/profiling/profile_summary_formatter.cc and tensorflow/core/util/stats_calculator.cc."""
    lines = (LOGS / "delegate_internal.txt").read_text().splitlines()
    ops = parse_run(lines).ops
    assert ops is not None
    assert [(op.type, op.name, op.mean_ms, round(op.share, 4)) for op in ops] == [
        ("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution (NHWC, F32) IGEMM:0", 0.6, 0.5625),
        ("Fully Connected (NC, F32) GEMM", "Delegate/Fully Connected (NC, F32) GEMM:1", 0.2, 0.1875),
        ("SOFTMAX", "[out]:64", 0.1, 0.1),
    ]


def test_operations_of_several_pieces_are_not_told_apart_so_the_pieces_stay():
    lines = (LOGS / "delegate_internal.txt").read_text().splitlines()
    piece = next(line for line in lines if "TfLiteXNNPackDelegate\t" in line)
    lines.insert(lines.index(piece), piece)
    ops = parse_run(lines).ops
    assert ops is not None
    assert [op.type for op in ops] == ["TfLiteXNNPackDelegate", "TfLiteXNNPackDelegate", "SOFTMAX"]


@pytest.mark.parametrize("start", ["start, ", ""])
def test_csv_tables_quote_nothing(start):
    number = "0.5, " if start else ""
    run = parse_run(
        [
            f"node type, {start}first, avg_ms, %, cdf%, mem KB, times called, name",
            f"Convolution (NHWC, F32) IGEMM, {number}1.1, 1.25, 62.5%, 62.5%, 0, 1, Delegate/Convolution (NHWC, F32):0",
            f"SOFTMAX, {number}1e-05, 0.75, 37.5%, 100%, 0, 1, [out, really]:1",
            "",
            "a line, after, it",
        ]
    )
    assert run.ops is not None
    assert [(op.type, op.name, op.mean_ms, op.share) for op in run.ops] == [
        ("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution (NHWC, F32):0", 1.25, 0.625),
        ("SOFTMAX", "[out, really]:1", 0.75, 0.375),
    ]


WARMUP = "INFO: count=1 curr=900"
TIMED = {
    "count=50 curr=120(all same)": dict(n=50, mean=0.12, min=0.12, max=0.12, std=0, median=0.12, p5=0.12, p95=0.12),
    "count=1 curr=120": dict(n=1, mean=0.12, min=0.12, max=0.12, std=0, median=0.12, p5=0.12, p95=0.12),
    "count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798": dict(
        n=50, mean=2950.34, min=2727.568, max=3189.954, std=109.798
    ),
    "count=2 first=10 curr=20 min=10 max=20 avg=15 std=-9223372036854775808": dict(n=2, mean=0.015, min=0.01, max=0.02),
}


@pytest.mark.parametrize("line", TIMED)
def test_lines_of_a_measurement(line):
    assert near(parse_run([WARMUP, line]).timed, **TIMED[line])


@pytest.mark.parametrize(
    "line",
    [
        "count=0",
        "count=0 p5=0 median=0 p95=0",
        "count=50 curr=0(all same)",
        "count=50 first=1 curr=1 min=5 max=2 avg=3 std=0",
        "count=50 first=1 curr=1 min=1 max=2 avg=9 std=0",
        "count=50 first=1 curr=1 min=1 max=9 avg=3 std=0 p5=1 median=99 p95=9",
        "count=99999999999999999999 curr=5",
        "Timings (microseconds): count=50 first=1 curr=1 min=1 max=1 avg=1 std=0",
        "Memory (bytes): count=50 curr=128366400(all same)",
    ],
)
def test_numbers_that_cannot_be_true_are_no_measurement(line):
    assert parse_run([WARMUP, line]).timed is None


def test_a_run_that_ended_after_its_warm_up_has_no_measurement():
    run = parse_run(["STARTING!", "count=9 first=81913 curr=55502 min=55502 max=81913 avg=58984.7 std=8115"])
    assert run.timed is None
    assert run.first_ms == 81.913


def test_several_runs_in_one_file():
    text = (LOGS / "tflite.txt").read_text()
    assert [len(split_runs(text * n)) for n in (1, 2, 3)] == [1, 2, 3]
    bare = "\n".join(line for line in text.splitlines() if "count=" in line) + "\n"
    assert [parse_run(run).timed for run in split_runs(bare * 2)] == [log("tflite.txt").timed] * 2


us = st.integers(1, 10**9)


@given(st.lists(us, min_size=2, max_size=30), st.booleans(), st.sampled_from(["", "INFO: ", "native : b.cc:440 "]))
def test_what_the_tool_prints_is_what_is_read(samples, percentiles, prefix):
    low, high, mean = min(samples), max(samples), sum(samples) / len(samples)
    ordered = sorted(samples)
    p5, median, p95 = (ordered[len(ordered) * percent // 100] for percent in (5, 50, 95))
    line = f"{prefix}count={len(samples)} "
    if low == high:
        line += f"curr={low}(all same)"
    else:
        line += f"first={samples[0]} curr={samples[-1]} min={low} max={high} avg={mean:.6g} std=1"
    line += f" p5={p5} median={median} p95={p95}" if percentiles else ""
    timed = parse_run([WARMUP, line]).timed
    assert timed is not None
    assert (timed.n, timed.min, timed.max) == (len(samples), low / 1e3, high / 1e3)
    assert timed.mean == pytest.approx(mean / 1e3, rel=1e-5)
    if percentiles:
        assert (timed.p5, timed.median, timed.p95) == (p5 / 1e3, median / 1e3, p95 / 1e3)
    elif low != high:
        assert timed.median is None


pieces = st.sampled_from(
    (LOGS / "tflite.txt").read_text().split()
    + (LOGS / "litert.txt").read_text().split()
    + (LOGS / "profiled.txt").read_text().split("\t")
    + ["count=", "1e+99", "\t", "\n", "[node type]", "nan", "-", "9" * 30]
)


@given(st.one_of(st.text(), st.lists(pieces, max_size=60).map(" ".join)))
def test_garbage_gives_a_run_that_says_little_and_never_an_error(text):
    for lines in split_runs(text):
        run = parse_run(lines)
        assert run.timed is None or run.timed.min <= run.timed.max
