"""What `compare --ops` prints: the operations that changed most, what has no partner, and what no profile sees."""

from __future__ import annotations

import pytest

from device_bench.device import Missing
from device_bench.records import ComparisonResult, Measurement, OpTime
from pipeline.terminal.operations import MOST_CHANGED, print_op_changes
from tests.pipeline.report.sample_run import SampleRun, artifact

Profile = tuple[OpTime, ...] | Missing


def op(name: str, mean_ms: float, kind: str = "CONV_2D", share: float = 0.1) -> OpTime:
    return OpTime(name=name, type=kind, mean_ms=mean_ms, share=share)


@pytest.fixture
def compared(tmp_path, capsys):
    def show(before: Profile, after: Profile) -> str:
        run = SampleRun(tmp_path)
        measured = [run.measurement(artifact(name, "tflite", "fp32")) for name in ("dense", "pruned")]
        result = ComparisonResult(
            comparisons=(),
            measurements=tuple(_with(one, ops) for one, ops in zip(measured, (before, after), strict=True)),
        )
        print_op_changes(result, ("dense-fp32.tflite", "pruned-fp32.tflite"))
        return str(capsys.readouterr().out)

    return show


def _with(measurement: Measurement, ops: Profile) -> Measurement:
    if isinstance(ops, Missing):
        return measurement.model_copy(update={"ops": None, "missing": {**measurement.missing, "ops": ops.reason}})
    return measurement.model_copy(update={"ops": ops})


def test_the_largest_change_comes_first(compared):
    said = compared((op("stem", 1.5), op("head", 4, share=0.4)), (op("stem", 1.0), op("head", 1, share=0.5)))
    lines = said.splitlines()
    head, stem = (next(i for i, line in enumerate(lines) if line.startswith(name)) for name in ("head", "stem"))
    assert head < stem
    assert lines[head].split() == ["head", "CONV_2D", "4.000", "1.000", "-3.000"]
    assert "dense-fp32.tflite: 2 operations, 5.500 ms; beyond them 4.500 ms" in said


def test_what_has_no_partner_is_listed_apart(compared):
    said = compared((op("stem", 1), op("gone", 0.25)), (op("stem", 0.0), op("new", 3, "ADD"), op("more", 2, "ADD")))
    assert "only there: gone (0.250 ms)" in said
    assert "only there: new (3.000 ms), more (2.000 ms)" in said
    assert "<0.001" in said


def test_a_long_list_is_cut_and_says_so(compared):
    before = tuple(op(f"layer{i}", i + 1) for i in range(MOST_CHANGED + 7))
    said = compared(before, tuple(op(one.name, 0.5) for one in before))
    assert "7 more operations changed less" in said
    many = tuple(op(f"other{i}", 1, "ADD") for i in range(MOST_CHANGED + 3))
    assert "and 3 more" in compared((op("stem", 1),), (op("stem", 1), *many))


def test_a_network_that_ran_in_one_piece_says_so_in_words(compared):
    whole = (op("[logits]:65", 2.0, "TfLiteXNNPackDelegate", 1.0),)
    assert compared(whole, whole).count("in one piece, and this profile does not see its layers") == 2


def test_a_runner_without_a_profile_gives_the_reason(compared):
    said = compared((op("stem", 1),), Missing(reason="the app's log is cut"))
    assert "no times of operations: pruned-fp32.tflite: the app's log is cut" in said
