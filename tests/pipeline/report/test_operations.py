"""Where an inference's time goes: the sums are the stored profiles', and one that is not there says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device_bench.records import OpTime
from pipeline.report import write_report
from pipeline.report.operations import (
    MAX_BLOCKS,
    ONE_PIECE,
    REST,
    OperationTimes,
    block_of,
    operation_times,
    operations_grid,
)
from pipeline.report.results import read_results
from pipeline.report.rows import build_rows
from tests.pipeline.report.sample_run import GROUPS, SampleRun

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def times_of(tmp_path: Path) -> Callable[..., OperationTimes | str]:
    """Of the sample run, each of whose stored measurements was changed."""

    def read(change: Change = lambda line: None) -> OperationTimes | str:
        folder = SampleRun(tmp_path / "run").write()
        log = folder / "bench" / "measurements.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        for line in lines:
            change(line)
        log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return operation_times(build_rows(read_results(folder)))

    return read


def only(artifact: str, **values: Any) -> Change:
    def change(line: dict[str, Any]) -> None:
        if line["artifact"] == f"export/{artifact}.tflite":
            measurement = line["measurement"]
            measurement["missing"] |= values.pop("missing", {})
            measurement |= values

    return change


def op(name: str, kind: str = "CONV_2D", mean_ms: float = 1.0, share: float = 0.1) -> dict[str, Any]:
    return {"name": name, "type": kind, "mean_ms": mean_ms, "share": share}


def test_blocks_are_those_of_the_network_and_hold_all_of_an_inference(times_of: Any) -> None:
    times = times_of()
    assert isinstance(times, OperationTimes)
    assert times.device == "Intel Xeon 2.80 GHz, 2 cores (host)"
    assert times.blocks[:3] == ("features.0", "features.2", "features.3") and times.blocks[-1] == REST
    assert list(times.block_ms) == ["dense", "uniform", "pruned"]
    assert sum(times.block_ms["dense"]) == pytest.approx(0.643)
    assert times.block_ms["dense"][-1] == pytest.approx(0.0643)
    assert sum(times.block_ms["pruned"]) == pytest.approx(0.142)


def test_the_table_starts_with_what_changed_most(times_of: Any) -> None:
    grid = operations_grid(times_of())
    assert grid.rows[0][0] == "features.18.0"
    assert len(grid.rows) == len(GROUPS) and all(len(row) == len(grid.heads) == len(grid.align) for row in grid.rows)
    assert grid.rows[0][3].startswith("\u2212")
    assert sum(float(row[4].replace("\u2212", "-")) for row in grid.rows) == pytest.approx(100, abs=1)


def test_what_has_no_partner_is_named_below_the_table(times_of: Any) -> None:
    ops = [op("features.0.0"), op("new.layer", "ADD", 0.0)]
    grid = operations_grid(times_of(only("pruned-fp32", ops=ops)))
    assert [row[0] for row in grid.rows] == ["features.0.0"]
    assert "Only in pruned, with no partner in the other: new.layer (<0.001 ms)." in grid.note
    assert "Only in dense, with no partner in the other: features.2.conv.0.0" in grid.note


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (only("dense-fp32", ops=None, missing={"ops": "another LiteRT"}), "dense tflite fp32: another LiteRT"),
        (only("pruned-fp32", valid=False, rejections=["throttled"]), "measurement rejected: throttled"),
        (only("pruned-fp32", ops=[op("[logits]:65", "TfLiteXNNPackDelegate", share=1.0)]), ONE_PIECE),
    ],
)
def test_without_both_profiles_there_is_a_reason(times_of: Any, change: Change, said: str) -> None:
    assert said in times_of(change)


def test_a_network_of_very_many_blocks_shows_the_dearest(times_of: Any) -> None:
    ops = [op(f"layer{i}.x", mean_ms=i + 1.0, share=(i + 1) / 2000) for i in range(2 * MAX_BLOCKS)]
    times = times_of(lambda line: only(Path(line["artifact"]).stem, ops=ops)(line))
    assert len(times.blocks) == MAX_BLOCKS + 1 and times.blocks[0] == f"layer{MAX_BLOCKS}.x"
    assert sum(times.block_ms["dense"]) == pytest.approx(2000)


@pytest.mark.parametrize(
    ("name", "kind", "block"),
    [
        ("features.2.conv.0.0", "CONV_2D", "features.2"),
        ("features.2.conv.2, then Add (ND)", "Add (ND)", "features.2"),
        ("conv1", "CONV_2D", "conv1"),
        ("MobilenetV1/Conv2d_1_depthwise/depthwise", "CONV_2D", "MobilenetV1.Conv2d_1_depthwise"),
        ("/Conv_conv_filter", "CONV_2D", "Conv_conv_filter"),
        ("Convolution (NHWC, F32) IGEMM:12", "Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) IGEMM"),
        ("[relu]:7", "CONV_2D", "CONV_2D"),
        ("", "ADD", "ADD"),
    ],
)
def test_a_layers_block(name: str, kind: str, block: str) -> None:
    assert block_of(OpTime(name=name, type=kind, mean_ms=1, share=0.5)) == block


def test_the_report_shows_the_picture_and_the_table(tmp_path: Path) -> None:
    out = tmp_path / "report"
    page = write_report(SampleRun(tmp_path / "run").write(), out).read_text()
    assert 'id="chart-operations"' in page and "Operations that changed most" in page
    assert (out / "operations.png").stat().st_size > 1000
    summary = (out / "summary.md").read_text()
    assert "Operations that changed most, dense against pruned (TFLite fp32 on Intel Xeon" in summary
    assert "| features.18.0 " in summary


def test_the_report_of_a_run_without_profiles_says_why(tmp_path: Path) -> None:
    folder = SampleRun(tmp_path / "run").write()
    log = folder / "bench" / "measurements.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        line["measurement"] |= {"ops": None, "missing": line["measurement"]["missing"] | {"ops": "<b>no</b> profiler"}}
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    out = tmp_path / "report"
    page = write_report(folder, out).read_text()
    assert 'id="chart-operations"' not in page and "&lt;b&gt;no&lt;/b&gt; profiler" in page
    assert not (out / "operations.png").exists()
    assert "No times of single operations." in (out / "summary.md").read_text()
