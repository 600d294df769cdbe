from __future__ import annotations

import json
import re
from pathlib import Path

from device_bench.records import Measurement
from pipeline.report import write_report
from pipeline.report.summary import escape_md
from pipeline.report.text import DASH
from tests.pipeline.report.sample_run import TABLE_ERROR, SampleRun, hybrid_errors, search_summary


def test_summary_json_has_the_published_layout(report_dir: Path) -> None:
    summary = json.loads((report_dir / "summary.json").read_text())
    assert list(summary) == ["run", "device", "data", "search", "latency_tables", "noise", "variants"]
    assert (summary["run"], summary["device"], summary["data"]) == ("demo", "host", "digits")
    assert summary["search"] == {
        "agent": "dqn",
        "reward": "latency",
        "cost": "latency",
        "latency_source": "hybrid",
        "episodes": 55,
        "wall_s": 203.2,
        "device_measurements": 52,
        "latency_table_error": TABLE_ERROR,
        "hybrid_error": {"median": 0.022, "p90": 0.061, "n": 45, "worst": 0.11},
        "hybrid_errors": hybrid_errors(),
        "unstable_measurements": 2,
        "repeated_processes": 7,
        "rejected_measurements": search_summary()["rejected_measurements"],
        "episodes_paid_by_table": 8,
        "energy": search_summary()["energy"],
        "rounds": [],
        "explanations": [],
    }
    (table,) = summary["latency_tables"]
    assert (table["estimator"], table["variants"], table["layers"]) == ("combined", 40, 0)
    final, search = summary["noise"]
    assert (final["of"], final["floor"]["floor"], final["missing"]) == ("final comparison", 0.0123, {})
    assert search["floor"] is None and "10 are needed" in search["missing"]["floor"]
    for variant in summary["variants"]:
        assert list(variant) == ["name", "top1", "top5", "n_images", "params", "macs", "sparsity", "plan", "artifacts"]
        for artifact in variant["artifacts"]:
            keys = ["format", "precision", "path", "sha256", "size_bytes", "top1", "parity", "measurements"]
            assert list(artifact) == keys
            assert list(artifact["parity"]) == ["method", "max_rel_error", "top1_agreement", "n", "passed"]
            for measurement in artifact["measurements"]:
                assert Measurement.model_validate(measurement).artifact.sha256 == artifact["sha256"]


def test_summary_json_of_a_stopped_run_is_null_where_nothing_is_known(tmp_path: Path) -> None:
    run = SampleRun(tmp_path / "run").write("baseline")
    summary = json.loads((write_report(run, tmp_path / "report").parent / "summary.json").read_text())
    assert summary["search"] is None
    (dense,) = summary["variants"]
    assert dense["top1"] == 0.9874 and dense["params"] is None and dense["artifacts"] == []


def test_summary_md_fits_a_terminal_and_explains_every_dash(report_dir: Path) -> None:
    text = (report_dir / "summary.md").read_text()
    assert max(map(len, text.splitlines())) <= 110
    assert "4.53\u00d7 faster than dense" in text
    cells = [cell.strip() for line in text.splitlines() if line.startswith("| ") for cell in line.strip("|").split("|")]
    dashes = [cell for cell in cells if cell.startswith(DASH)]
    assert dashes and all(cell.endswith("]") for cell in dashes)
    marks = {mark for cell in cells for mark in re.findall(r"\[(\d+)\]$", cell)}
    assert marks == set(re.findall(r"^(\d+)\. ", text, flags=re.MULTILINE))


def test_every_row_names_the_kind_of_its_device(report_dir: Path) -> None:
    lines = (report_dir / "summary.md").read_text().splitlines()
    measured = [line for line in lines if line.startswith("|") and "tflite" in line]
    assert measured and all("| host" in line for line in measured)


def test_text_of_a_file_cannot_break_a_markdown_table() -> None:
    assert escape_md("a|b\n<script>[x](y)") == r"a\|b &lt;script&gt;\[x\](y)"
