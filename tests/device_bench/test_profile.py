"""Times of operations on this machine, really taken; and what is said where they cannot be had."""

import json
from pathlib import Path

import pytest

import device_bench
from device_bench.answer import SENTINEL
from device_bench.device import Job, JobModel, Missing
from device_bench.errors import RunnerError, TransientDeviceError
from device_bench.profile import profile_ops
from device_bench.records import BenchSpec

QUICK = BenchSpec(warmup_runs=1, timed_runs=10, min_seconds=0.02)


def job(path: Path) -> Job:
    return Job.of(QUICK, (JobModel(path=path),))


def answered(path: Path, answer: object):
    return profile_ops(job(path), lambda stdin, timeout_s: f"noise\n{SENTINEL}{json.dumps(answer)}\n")


def test_each_layer_of_a_network_is_timed_on_the_host(wide_tflite: Path):
    measured = device_bench.benchmark(wide_tflite, spec=QUICK, power=False, ops=True)
    assert measured.ops is not None and "ops" not in measured.missing
    convolutions = [op for op in measured.ops if op.type.startswith("Convolution")]
    assert len(convolutions) == 2
    # The second one has 64 channels in, the first one three.
    assert convolutions[1].mean_ms > convolutions[0].mean_ms > 0
    assert 0.2 < sum(op.share for op in measured.ops) <= 1.01
    inference_ms = convolutions[1].mean_ms / convolutions[1].share
    assert 0.1 * measured.median_ms < inference_ms < 10 * measured.median_ms


def test_what_runs_outside_the_delegate_is_seen_as_well(split_tflite: Path):
    measured = device_bench.benchmark(split_tflite, spec=QUICK, power=False, ops=True)
    assert measured.ops is not None
    kinds = [op.type.partition(" ")[0] for op in measured.ops]
    assert kinds.count("Convolution") == 2 and kinds.count("CUMSUM") == 1
    assert measured.ops[kinds.index("CUMSUM")].name.endswith(", then CUMSUM")


def test_operations_are_timed_only_where_somebody_asks(tiny_tflite: Path):
    measured = device_bench.benchmark(tiny_tflite, spec=QUICK, power=False)
    assert measured.ops is None
    assert measured.missing["ops"] == "not asked for"


def test_compare_times_the_operations_of_each_model(tiny_tflite: Path, wide_tflite: Path):
    result = device_bench.compare([tiny_tflite, wide_tflite], spec=QUICK, ops=True)
    before, after = (measured.ops for measured in result.measurements)
    assert before is not None and after is not None
    assert len(before) == len(after)
    assert sum(op.mean_ms for op in before) < sum(op.mean_ms for op in after)


def test_a_device_that_cannot_says_so(tmp_path: Path):
    path = tmp_path / "m.bin"
    path.write_bytes(b"x" * 2**10)
    measured = device_bench.benchmark(path, "fake://lab", QUICK, ops=True)
    assert measured.missing["ops"] == "the runner gives no times of single operations"


def test_an_answer_in_order(tiny_tflite: Path):
    operations = [{"type": "Convolution (NHWC, F32) IGEMM", "mean_ms": 0.3}, {"type": "Add (ND)", "mean_ms": 0.0}]
    ops = answered(tiny_tflite, {"operations": operations, "invoke_ms": 0.6, "runs": 9})
    assert not isinstance(ops, Missing)
    assert [(op.name, op.mean_ms, op.share) for op in ops] == [
        ("Convolution (NHWC, F32) IGEMM:0", 0.3, 0.5),
        ("Add (ND):1", 0.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"missing": "another version"}, "another version"),
        ({"operations": [], "invoke_ms": 1.0, "runs": 1}, "cannot be read"),
        ({"operations": [{"type": "a", "mean_ms": -1}], "invoke_ms": 1.0, "runs": 1}, "cannot be read"),
        ({"operations": [{"type": "a", "mean_ms": 1}], "invoke_ms": 0, "runs": 1}, "cannot be read"),
        ({"operations": "many", "invoke_ms": 1.0, "runs": 1}, "cannot be read"),
        (["garbage"], "cannot be read"),
    ],
)
def test_an_answer_that_is_none_is_a_reason(tiny_tflite: Path, answer: object, reason: str):
    found = answered(tiny_tflite, answer)
    assert isinstance(found, Missing)
    assert reason in found.reason


def test_a_profiler_that_crashes_spoils_no_measurement(tiny_tflite: Path):
    def crash(stdin: str, timeout_s: float) -> str:
        raise RunnerError("the runner was ended by SIGSEGV\n  more")

    assert profile_ops(job(tiny_tflite), crash) == Missing(reason="LiteRT's profiler: the runner was ended by SIGSEGV")
    assert profile_ops(job(tiny_tflite), lambda stdin, timeout_s: "") == Missing(
        reason="LiteRT's profiler: it ended without a result"
    )


def test_a_broken_link_is_no_reason_to_go_on(tiny_tflite: Path):
    def lost(stdin: str, timeout_s: float) -> str:
        raise TransientDeviceError("gone")

    with pytest.raises(TransientDeviceError):
        profile_ops(job(tiny_tflite), lost)
