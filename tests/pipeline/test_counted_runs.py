"""Whole runs whose target is counted, not timed: PuRL's sparsity in rounds, and multiply-accumulates of channels."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.config import validate_config
from pipeline.pruning.weights import sparsity, zeros_of
from pipeline.records import PruningPlan, read_json
from pipeline.report.results import read_results
from pipeline.report.rows import build_rows
from pipeline.report.verdict import build_verdict
from pipeline.subject import Subject, load_slimmed, load_weights
from tests.pipeline.test_flow import results, start
from tests.pipeline.tiny_run import tiny_config

RECOVER = {"kind": "retrain", "each_step": True, "images": 128}


def weights_config() -> dict[str, Any]:
    search = {
        **tiny_config()["search"],
        "agent": "dqn",
        "episodes": 2,
        "target": {"sparsity": 0.7, "accuracy_drop": 0.05},
        "rounds": [0.4],
        "recover": RECOVER,
        "stop_below": 0.0,
        "options": {"greedy_episodes": 2},
    }
    return tiny_config(
        pruning={"kind": "weights"},
        search=search,
        export={"tflite": ["fp32", "fp32-sparse"], "coreml": []},
        controls=["uniform"],
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "whole"
    return pipeline.run(weights_config(), run_dir=folder)


def test_the_networks_have_the_zeros_of_their_plans(finished: Path) -> None:
    summary = json.loads((finished / "report" / "summary.json").read_text())
    variants = {variant["name"]: variant for variant in summary["variants"]}
    assert variants["dense"]["sparsity"] == 0.0
    for name, place in (("pruned", "finetune"), ("uniform", "finetune/uniform")):
        plan = read_json(PruningPlan, finished / place / "plan.json")
        network = load_slimmed(plan, finished / place / "model.safetensors")
        assert variants[name]["sparsity"] == pytest.approx(sparsity(network))
        left = {layer: int((~zero).sum()) for layer, zero in zeros_of(network).items()}
        assert {layer: left[f"{layer}.weight"] for layer in plan.weights} == plan.keep_counts()
        gone = sum(layer.size - layer.kept for layer in plan.weights.values())
        assert variants[name]["params"] == variants["dense"]["params"] - gone
        assert variants[name]["macs"] < variants["dense"]["macs"]
    assert variants["pruned"]["sparsity"] == pytest.approx(variants["uniform"]["sparsity"], abs=0.001)


def test_the_last_round_starts_from_the_fine_tuned_network_of_the_one_before(finished: Path) -> None:
    search = json.loads((finished / "report" / "summary.json").read_text())["search"]
    assert (search["cost"], search["latency_source"], search["reward"]) == ("sparsity", None, "sparsity")
    first, last = search["rounds"]
    assert (first["target_sparsity"], last["target_sparsity"]) == (0.4, 0.7)
    subject = Subject(validate_config(weights_config()), finished / "baseline" / "model.safetensors")
    load_weights(subject.network, finished / "search" / "model.safetensors")
    assert sparsity(subject.network) == pytest.approx(first["sparsity"])


def test_files_without_zeros_are_written_and_compared_where_there_are_zeros(finished: Path) -> None:
    artifacts = json.loads((finished / "export" / "artifacts.json").read_text())
    named = [(one["variant"], one["precision"]) for one in artifacts]
    sparse = [(name, precision) for name in ("uniform", "pruned") for precision in ("fp32", "fp32-sparse")]
    assert named == [("dense", "fp32"), *sparse]
    assert all(one["parity"]["passed"] for one in artifacts)
    compared = json.loads((finished / "bench" / "comparison.json").read_text())["comparisons"]
    assert {one["candidate"] for one in compared} == {one["path"] for one in artifacts[1:]}
    rows = {row.label: row for row in build_rows(read_results(finished))}
    assert rows["pruned tflite fp32-sparse"].speedup is not None
    sizes = {row.label: row.artifact.size_bytes for row in rows.values() if row.artifact}
    assert sizes["pruned tflite fp32-sparse"] < sizes["pruned tflite fp32"]


def test_the_report_speaks_of_weights(finished: Path) -> None:
    found = read_results(finished)
    verdict = build_verdict(found, build_rows(found))
    zeros = f"{100 * (found.variants[-1].record.sparsity or 0):.1f}%"
    assert f"{zeros} of the weights of pruned are zero. Stored without its zeros, pruned is" in verdict.headline
    check = verdict.checks[0]
    assert (check.name, check.asked) == ("Sparsity", "at least 70.0% of the weights zero")
    assert check.got == f"counted {zeros}"
    assert "ith " + zeros[:-1] in verdict.search_worth and "latency" not in verdict.search_worth
    page = (finished / "report" / "index.html").read_text()
    for words in ("Kept weights", "Weights / dense", "Rounds", "Finalists, fine-tuned briefly"):
        assert words in page
    for words in ("Kept channels", "Each group of channels", "Latency source", "Dense latency", "latency table"):
        assert words not in page
    assert (finished / "report" / "kept_weights.png").exists()
    assert not (finished / "report" / "kept_channels.png").exists()


@pytest.mark.parametrize("at", [3, 7, 11])
def test_killed_in_the_search_it_ends_the_same(finished: Path, tmp_path: Path, at: int) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("search", "finetune", "export", "bench", "report"))
    killed = start(folder, weights_config(), "search", str(at))
    assert killed.returncode == -9, killed.stderr
    pipeline.run(weights_config(), run_dir=folder, until="export")
    assert results(folder) == results(finished)


def test_a_target_of_multiply_accumulates_is_met_by_channels(tmp_path: Path) -> None:
    search = {**tiny_config()["search"], "episodes": 2, "target": {"macs": 0.5, "accuracy_drop": 0.02}}
    folder = pipeline.run(tiny_config(search=search), run_dir=tmp_path / "run")
    summary = json.loads((folder / "report" / "summary.json").read_text())
    macs = {variant["name"]: variant["macs"] for variant in summary["variants"]}
    search_summary = json.loads((folder / "search" / "summary.json").read_text())
    assert macs["pruned"] / macs["dense"] == pytest.approx(search_summary["finalists"][0]["cost_ratio"])
    assert search_summary["target_met"] == (macs["pruned"] <= 0.5 * macs["dense"])
    for control in ("uniform", "random"):
        assert macs[control] == pytest.approx(macs["pruned"], rel=0.1)
    found = read_results(folder)
    check = build_verdict(found, build_rows(found)).checks[0]
    assert (check.name, check.asked) == ("MACs", "at most 0.500 of dense MACs")
    assert check.met == ("met" if search_summary["target_met"] else "not met")
    assert not (folder / "profile" / "measurements.jsonl").exists()
